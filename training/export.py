"""Write a trained model as a complete phi3_v folder, and check that the project's own model gives the same answers.

python -m training.export leg3 --out assets/preview-model
"""

import argparse
import random
from pathlib import Path

import torch

from . import checkpoint, sampler, tokenizer
from .losses import prefix, see
from .model import PreviewModel

CHECKED = ("half", "full", "mixed pair")


@torch.no_grad()
def difference(folder: Path) -> float:
    """Largest difference of the logits between the trainer's model and the project's, on freshly drawn samples.

    Raises:
        ValueError: the processor's tokens are not the trainer's.
    """
    from phi3v import Phi3VForCausalLM, Phi3VProcessor

    native = Phi3VForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    processor = Phi3VProcessor.from_pretrained(folder)
    trained = PreviewModel(checkpoint.shape_of(folder))
    trained.load_state_dict(checkpoint.read(folder), strict=False)
    rng, worst = random.Random(3), 0.0
    for name in CHECKED:
        bucket = sampler.BUCKETS[name]
        layouts = bucket.layouts[0][0]
        picture = sampler.draw(rng, layouts, bucket.num_crops, 0.0)
        question, instruction, _ = sampler.choose(rng, picture, 1).asked[0]
        tags = "".join(f"<|image_{i + 1}|>\n" for i in range(len(layouts)))
        text = f"<|user|>\n{tags}{instruction}<|end|>\n<|assistant|>\n"
        inputs = processor(text=text, images=[c.image for c in picture.canvases], return_tensors="pt")
        asked = tokenizer.encode_question(instruction)
        answer, _, _ = tokenizer.encode_answer(question.answer)
        if inputs["input_ids"][0].tolist()[-len(asked) :] != asked:
            raise ValueError("The processor's tokens of the question are not the trainer's.")
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        expected = native(**inputs).logits[0, -len(answer) :]
        images = {f"image{i}": torch.from_numpy(c.pixels())[None] for i, c in enumerate(picture.canvases)}
        before = prefix(trained, see(trained, images, layouts, noisy=False)[1])
        states, *_ = trained.decode(before, trained.embed(torch.tensor([asked + answer])))
        worst = max(worst, float((trained.logits(states)[0, -len(answer) :] - expected).abs().max()))
    return worst


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder that the training wrote")
    parser.add_argument("--out", type=Path, default=Path("assets/preview-model"))
    args = parser.parse_args()
    model, _ = checkpoint.load(args.checkpoint)
    checkpoint.export(model, args.out)
    size = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.1f} MB, largest difference of the logits {difference(args.out):.2e}")


if __name__ == "__main__":
    main()
