"""How good an exported model is, by the project's own processor and model, on pictures drawn for the purpose.

    python -m training.evaluate assets/preview-model --samples 200

Words, wordings and (in half of the pictures) typefaces are ones that training never used. Prints the table of the
model card, and what the model says of the example images. On a GPU it takes minutes; on a CPU lower ``--samples``.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from . import examples, fonts, instructions, sampler
from .picture import plain
from .scores import Table, groups

# task -> the kind of picture it is about; None is any kind
TASKS = {
    "text": "lines", "colored text": "lines", "paragraph": "document", "sign": "sign", "title and author": "book",
    "receipt": "receipt", "receipt fields": "receipt", "chart": "chart", "chart value": "chart",
    "chart extremes": "chart", "table": "table", "table cells": "table", "form": "form", "json": None,
    "markdown": None,
    "shapes": "shapes", "objects": "shapes", "count": "shapes", "color": "shapes", "describe": None,
    "no text": "unknown", "unknown": "unknown", "absent": None,
}  # fmt: skip
COMPARISONS = tuple(
    f"compare: {kind}"
    for kind in (
        "color", "shape", "size", "count", "position", "several", "text", "chart values", "no difference",
        "entirely different", "three images", "common",
    )
)  # fmt: skip
LAYOUTS = (((2, 2), 5), ((2, 1), 1), ((1, 2), 1))
LONGEST = 320  # new tokens


@dataclass
class Item:
    """One question to the model."""

    images: list[Image.Image]
    question: str
    expected: str
    rows: list[str] = field(default_factory=list)


def items(task: str, samples: int, seed: int) -> list[Item]:
    """Questions of one task, each about a picture of its own."""
    rng = random.Random(f"{seed} {task}")
    out: list[Item] = []
    while len(out) < samples:
        layout = rng.choices([v for v, _ in LAYOUTS], [w for _, w in LAYOUTS])[0]
        layouts: tuple = (layout,)
        if task in COMPARISONS:
            layouts = (layout,) * (3 if task == "compare: three images" else 2)
        if task == "compare: entirely different":
            layouts = rng.choice((((2, 2), (1, 2)), ((2, 1), (2, 2)), ((2, 2), (2, 2))))
        elif TASKS.get(task) == "chart" and layout == (1, 2):
            continue
        picture = sampler.draw(rng, layouts, 4, 1.0, TASKS.get(task), held_out=True)
        fitting = [q for q in picture.questions if q.task == task]
        if not fitting:
            continue
        question = rng.choices(fitting, [q.weight for q in fitting])[0]
        text, unseen = instructions.ask(rng, question.intent, question.slots, True, len(layouts))
        rows = groups(task, unseen, picture.new_faces)
        out.append(Item([c.image for c in picture.canvases], text, plain(question.answer), rows))
    return out


class Reader:
    """The exported model, answering in batches."""

    def __init__(self, folder: Path, device: str, batch: int):
        from phi3v import Phi3VForCausalLM, Phi3VProcessor

        self.device, self.batch = device, batch
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self.model = Phi3VForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)
        self.processor = Phi3VProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def answers(self, asked: list[Item]) -> list[str]:
        """Greedy answers, in the order of the questions."""
        out = [""] * len(asked)
        order = sorted(range(len(asked)), key=lambda i: (len(asked[i].images), len(asked[i].expected)))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            prompts = [prompt(asked[i].question, len(asked[i].images)) for i in chosen]
            inputs = self.processor(text=prompts, images=[asked[i].images for i in chosen]).to(self.device)
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
            ids = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
            texts = self.processor.tokenizer.batch_decode(
                ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            for i, text in zip(chosen, texts, strict=True):
                out[i] = text
        return out


def prompt(question: str, images: int) -> str:
    """The prompt of one turn."""
    tags = "".join(f"<|image_{i + 1}|>\n" for i in range(images))
    return f"<|user|>\n{tags}{question}<|end|>\n<|assistant|>\n"


def check_examples(reader: Reader) -> str:
    """What the model says of the example images, as a list in Markdown."""
    asked = [
        Item([Image.open(examples.FOLDER / f).convert("RGB") for f in files], question, expected)
        for files, question, expected in examples.EXPECTED
    ]
    lines = []
    for (files, question, expected), got in zip(examples.EXPECTED, reader.answers(asked), strict=True):
        lines.append(f"- {'right' if got == expected else 'WRONG'}: {', '.join(files)}: {question} → {got!r}")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=200, help="per task")
    parser.add_argument("--tasks", nargs="*", choices=[*TASKS, *COMPARISONS], default=[*TASKS, *COMPARISONS])
    parser.add_argument("--batch", type=int, default=0, help="0: 256 on a GPU, 8 on a CPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw; 0: one per core")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=20_260)
    parser.add_argument("--answers", type=Path, help="write every answer to this file (JSON lines)")
    args = parser.parse_args()
    began = time.monotonic()
    reader = Reader(args.model, args.device, args.batch or (256 if args.device.startswith("cuda") else 8))
    print(check_examples(reader), flush=True)
    table, lines = Table(), []
    # Drawing takes as long as answering: other processes draw a few tasks ahead.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers or os.cpu_count(), mp_context=context) as pool:
        waiting = list(args.tasks)
        drawn = deque()
        while waiting or drawn:
            while waiting and len(drawn) < 16:
                drawn.append(pool.submit(items, waiting.pop(0), args.samples, args.seed))
            asked = drawn.popleft().result()
            for item, text in zip(asked, reader.answers(asked), strict=True):
                table.add(item.rows, item.expected, text)
                line = {"task": item.rows[0], "question": item.question, "expected": item.expected, "answer": text}
                lines.append(json.dumps(line))
    if args.answers:
        args.answers.write_text("\n".join(lines) + "\n")
    print(table.markdown())
    print(f"\n{time.monotonic() - began:.0f} s on {args.device}, seed {args.seed}")
    print(f"{fonts.installed()} typefaces of the training, {fonts.installed(held_out=True)} unseen ones")


if __name__ == "__main__":
    main()
