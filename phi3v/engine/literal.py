"""Text that is only text: what a user types can't become chat markup or an image tag."""

from collections.abc import Callable

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast

# A Unicode noncharacter: reserved for a program's own use, so no text contains it.
GUARD = "\ufdd0"


def in_whole_characters(text: str) -> str:
    """A text without halves of characters, as where it was cut: JSON can have them, UTF-8 can't."""
    return text.encode(errors="replace").decode()


def literal_text(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], str]:
    """A function that marks a text so that `tokenizer` reads none of it as markup.

    The tokenizer is changed by it: give it a copy of one that others use. Every character that an added token begins
    with (`<`) is followed by a guard character, so neither `<|end|>` nor `<|image_1|>` is found in the text. The
    tokenizer's normaliser, which runs after added tokens have been cut out, is extended to drop the guard: the ids are
    those of the plain characters.
    """
    backend = tokenizer.backend_tokenizer
    steps = [normalizers.Replace(GUARD, "")]
    if backend.normalizer is not None:
        steps.append(backend.normalizer)
    backend.normalizer = normalizers.Sequence(steps)
    first_characters = {token[0] for token in tokenizer.get_added_vocab()}

    def literal(text: str) -> str:
        text = in_whole_characters(text.replace(GUARD, ""))
        for character in first_characters:
            text = text.replace(character, character + GUARD)
        return text

    return literal
