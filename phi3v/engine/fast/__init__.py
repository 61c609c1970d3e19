"""Answers made as fast as the machine allows: what is computed is what transformers computes, and is compared with it.

Without this package, `Phi3Vision` answers through transformers' own loop.
"""
