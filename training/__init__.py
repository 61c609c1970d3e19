"""How the preview model was made: pictures are rendered, a small Phi-3-Vision is trained on them, and exported."""
