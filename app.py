"""Phi-3-Vision in the browser. `python app.py --help` lists the options."""

import os

# On a CPU, torch's threads wait for each other awake for a millisecond. Where a browser runs on the same few cores,
# that takes from the others what they need to finish: answers come at half the speed or less. Read when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Images of up to this size lie in one piece, which a GPU gets in half the time. Read when Pillow loads.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "256m")

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401 - before torch, which it patches

from phi3v.serve import main

if __name__ == "__main__":
    main()
