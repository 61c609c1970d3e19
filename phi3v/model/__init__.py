"""The architecture, in transformers' conventions. Knows nothing of the rooms above."""
