"""Texts made equally long in tokens, so that a knob that also changes length can be read without it.

Every text gets neutral words before it, the longest one too, because a preamble that only short texts have would be a
knob of its own. The count is exact or there is an error: nearly matched is not matched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from probes.errors import InputError
from probes.suites.files import Source, read, texts

# the filler of passkey retrieval (Mohtashami & Jaggi 2023, arXiv:2305.16300)
NEUTRAL: Final = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
PREAMBLE: Final = 24  # tokens that even the longest text gets, so that all of them begin alike
LAST_WORDS: Final = (" the", " a", " and", " so", ".", "a")  # one of them is one token in any tokenizer we know
BACK: Final = 6


def words_of(source: Source) -> tuple[str, ...]:
    """All words of a source of neutral text."""
    return tuple(word for text in texts(read(source), source.prompt) for word in text.split())


def pad_alike(
    texts: Sequence[str], count_tokens: Callable[[str], int], filler: Sequence[str], *, place: str
) -> tuple[list[str], int]:
    """Texts with neutral words before them, all of one length.

    Args:
        texts: what belongs together.
        count_tokens: length of a prompt.
        filler: words to pad with, repeated as often as needed.
        place: how messages call the item.

    Returns:
        The padded texts, each of which ends with the original, and their common number of tokens.

    Raises:
        InputError: if this tokenizer gives no way to the same length.
    """
    target = max(map(count_tokens, texts)) + PREAMBLE
    return [_padded(text, target, count_tokens, filler, place) for text in texts], target


def _padded(text: str, target: int, count_tokens: Callable[[str], int], filler: Sequence[str], place: str) -> str:
    def made(n_words: int, tail: str = "") -> str:
        words = [filler[index % len(filler)] for index in range(n_words)]
        return f"{' '.join(words)}{tail}\n\n{text}"

    at_most = bisect_right(range(target), target, key=lambda n_words: count_tokens(made(n_words))) - 1
    for n_words in range(at_most, max(at_most - BACK, 0), -1):
        left = target - count_tokens(made(n_words))
        for word in LAST_WORDS:
            padded = made(n_words, word * left)
            if count_tokens(padded) == target:
                return padded
    raise InputError(f"{place}: this tokenizer gives no way to pad the text to exactly {target} tokens")
