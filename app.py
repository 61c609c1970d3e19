"""Phi-3-Vision in the browser. `python app.py --help` lists the options."""

import os
import sys
from importlib.util import find_spec, module_from_spec


def main() -> None:
    """Start the app: `python app.py`, and once installed the command `phi3v`."""
    # On a CPU, torch's threads wait for each other awake for a millisecond. Where a browser runs on the same few
    # cores, that takes from the others what they need to finish: answers come at half the speed or less. Read when
    # torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Images of up to this size lie in one piece, which a GPU gets in half the time. Read when Pillow loads.
    os.environ.setdefault("PILLOW_BLOCK_SIZE", "256m")

    # `import phi3v` registers the architecture with transformers, which loads torch: seconds, for which nobody should
    # wait who wants to read `--help`. So the package's `__init__.py` runs after the options are read.
    spec = find_spec("phi3v")
    package = sys.modules["phi3v"] = module_from_spec(spec)
    from phi3v.app.options import parse_options

    options = parse_options()
    if os.environ.get("SPACES_ZERO_GPU"):
        import spaces  # noqa: F401 - before torch, which it patches
    spec.loader.exec_module(package)
    from phi3v.serve import main as serve

    serve(options)


if __name__ == "__main__":
    main()
