"""The vocabulary: byte-level BPE, learnt from the generator's own instructions and answers.

``python -m training.tokenizer`` writes ``training/tokenizer.json``. Digits stay single, so that numbers are read digit
by digit; no token is longer than a word.
"""

import argparse
import random
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from . import sampler
from .canvas import Ref
from .picture import Answer, Stress, plain

FILE = Path(__file__).with_name("tokenizer.json")
SPECIAL = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>", "<|image|>", "<|endoftext|>"]
PAD, USER, ASSISTANT, END, IMAGE, END_OF_TEXT = range(6)
VOCABULARY = 1024
STRESS = 3  # weight of a token that concludes, against 1


def learn(samples: int, seed: int = 1) -> Tokenizer:
    """Learn the merges from that many rendered pictures."""
    rng = random.Random(seed)
    texts = []
    for _ in range(samples):
        names = list(sampler.BUCKETS)
        bucket = sampler.BUCKETS[rng.choices(names, [sampler.bucket_weights(1).get(n, 0) for n in names])[0]]
        layouts = rng.choices([v for v, _ in bucket.layouts], [w for _, w in bucket.layouts])[0]
        sample = sampler.choose(rng, sampler.draw(rng, layouts, bucket.num_crops, 1.0), 3)
        for question, instruction, _ in sample.asked:
            texts.append(plain(question.answer))
            if rng.random() < 0.25:  # questions are read once, answers are written token by token
                texts.append(instruction)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=alphabet,
        max_token_length=14,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@lru_cache(maxsize=4)
def load(dropout: float = 0.0) -> Tokenizer:
    """The learnt vocabulary; with ``dropout`` merges are skipped at random, so that a text has many spellings."""
    tokenizer = Tokenizer.from_file(str(FILE))
    if dropout:
        tokenizer.model.dropout = dropout
    return tokenizer


def vocabulary_size() -> int:
    """Number of ids, rounded up to a multiple of 64 for the matrix units."""
    return -(-load().get_vocab_size() // 64) * 64


def encode_question(instruction: str) -> list[int]:
    """Everything between the last image and the answer."""
    return load().encode(f"\n{instruction}<|end|>\n<|assistant|>\n").ids


def encode_answer(answer: Answer, dropout: float = 0.0) -> tuple[list[int], list[int], list[tuple[Ref, int] | None]]:
    """Ids, weights, and for each token what it begins to copy: a text on a canvas and the index of its character."""
    text, weights, sources = [], [], []
    for part in answer:
        weight, piece = (STRESS, part.piece) if isinstance(part, Stress) else (1, part)
        ref = piece if isinstance(piece, Ref) else None
        text += ref.text if ref else piece
        count = len(text) - len(weights)
        weights += [weight] * count
        sources += [(ref, i) if ref else None for i in range(count)]
    encoding = load(dropout).encode("".join(text))
    heavy, begins = [], []
    for start, end in encoding.offsets:
        heavy.append(weights[start])
        # The space before a word belongs to its token, but there is nothing to see of it.
        seen = [sources[i] for i in range(start, end) if sources[i] and not text[i].isspace()]
        begins.append(seen[0] if seen else None)
    return [*encoding.ids, END], [*heavy, weights[-1]], [*begins, None]


def main() -> None:
    """Command line: learn and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6000)
    tokenizer = learn(parser.parse_args().samples)
    tokenizer.save(str(FILE))
    print(tokenizer.get_vocab_size(), "tokens in", FILE.name)


if __name__ == "__main__":
    main()
