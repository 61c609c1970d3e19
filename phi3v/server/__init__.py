"""HTTP in front of Gradio: what a stranger can send to it, and for how long. Knows no model and no page.

`asgi.py` puts the parts together; each is a module.
"""
