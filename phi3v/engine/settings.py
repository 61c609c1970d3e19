"""What can be set, and within which bounds. Without torch, so that options are read before it is loaded."""

# Of an answer. name: (lowest, highest)
BOUNDS = {
    "max_new_tokens": (1, 4096),
    "temperature": (0.0, 2.0),
    "top_p": (0.01, 1.0),
    "repetition_penalty": (1.0, 2.0),
    "num_crops": (1, 16),
    "seed": (0, 2**32 - 1),
}
# Of an engine.
DTYPES = ("bfloat16", "float16", "float32")
ATTENTION = ("auto", "flash_attention_2", "sdpa", "eager")
BITS = {"int8": 8, "int4": 4}  # of a quantised weight
