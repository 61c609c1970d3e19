"""One module per kind of picture. Each draws a picture and says what can be asked about it.

A renderer is called with a `Brief` and returns a `Picture`, or None where the words did not fit: then the caller tries
again.
"""
