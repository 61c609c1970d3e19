"""The mean of two checkpoints of one run: what a short last run learnt, without all of what it disturbed.

python -m training.average leg3 leg4 --share 0.7 --out mean
"""

import argparse
from pathlib import Path

from . import checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder that the training wrote")
    parser.add_argument("second", type=Path, help="folder of a run that went on from the first")
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    first, _ = checkpoint.load(args.first)
    second, state = checkpoint.load(args.second)
    weights = second.state_dict()
    second.load_state_dict({k: v.lerp(weights[k], args.share) for k, v in first.state_dict().items()})
    checkpoint.save(second, args.out, state)


if __name__ == "__main__":
    main()
