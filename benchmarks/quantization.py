"""What the preview model loses in 8 and 4 bits: ``python -m benchmarks.quantization``. Needs what `training/` needs.

Answers about freshly drawn pictures, with words and wordings that training never used: character error rate (CER)
against what is shown, and how many answers are the very same as without quantisation.
"""

import argparse

from phi3v import Phi3Vision
from phi3v.engine.settings import BITS
from training import evaluate
from training.scores import edits

TASKS = ("sign", "title and author", "text", "receipt", "table", "chart", "json", "shapes", "compare: color")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10, help="per task")
    options = parser.parse_args()
    asked = [item for task in TASKS for item in evaluate.items(task, options.samples, 1)]
    print(f"| {len(asked)} answers | CER | as without |\n|---|---:|---:|")
    reference = None
    for kind in (None, *BITS):
        engine = Phi3Vision.from_pretrained(quantize=kind)
        answers = [engine.answer(item.question, item.images).text for item in asked]
        reference = reference or answers
        wrong = sum(edits(answer, item.expected) for answer, item in zip(answers, asked, strict=True))
        same = sum(answer == other for answer, other in zip(answers, reference, strict=True))
        cer = wrong / sum(len(item.expected) for item in asked)
        print(f"| {engine.precision} | {cer:.2%} | {same / len(asked):.0%} |", flush=True)


if __name__ == "__main__":
    main()
