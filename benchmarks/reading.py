"""How fast the bundled model reads an image of 2 x 2 crops here: ``python -m benchmarks.reading``.

Prints the median of ten answers: time to the first token and characters a second after it.
"""

import os
from statistics import median

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as app.py does

from PIL import Image

from phi3v import Phi3Vision
from phi3v.app.tasks import EXAMPLES, OCR

TIMES = 10


def unseen_receipt() -> Image.Image:
    """The example with a pixel of its own, so that nothing of it was computed before."""
    image = Image.open(EXAMPLES / "receipt.png").convert("RGB")
    image.putpixel((0, 0), tuple(os.urandom(3)))
    return image


def main() -> None:
    """Measure and print."""
    engine = Phi3Vision.from_pretrained()
    engine.answer(OCR["text"].prompt, [unseen_receipt()])  # the first answer loads what is loaded lazily
    waits, speeds, tokens = [], [], []
    for _ in range(TIMES):
        answer = engine.answer(OCR["text"].prompt, [unseen_receipt()])
        text, stats = answer.text, answer.stats
        waits.append(stats.ttft)
        tokens.append(stats.tokens_per_second)
        speeds.append(stats.tokens_per_second * len(text) / stats.new_tokens)
    print(f"{engine.device_name}, {os.cpu_count()} cores, {str(engine.dtype).removeprefix('torch.')}")
    speed = f"{median(tokens):.0f} tokens, {median(speeds):.0f} characters a second"
    print(f"first token after {median(waits):.2f} s; {speed}")


if __name__ == "__main__":
    main()
