"""Answers questions about images: loads a checkpoint, runs it, streams what it says. Imports no Gradio."""
