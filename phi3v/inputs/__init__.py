"""What strangers send, files and addresses, becomes images. Imports neither the engine nor Gradio."""
