"""Sentences to learn from, half of them spoiled, and sentences whose loss is wanted.

Half of the training sentences are spoiled as in the paper: again and again one symbol is replaced by another, the last
is dropped, or one is said twice; twenty times in 64 symbols. The paper's policy should give these no weight.
Without files of the user's, sentences are those of Python's own help, which every machine has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import Final, NamedTuple

import numpy as np

from probes.errors import InputError

EDITS: Final = 20 / 64  # per symbol
SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")


class Sentences(NamedTuple):
    """Sentences of a trial.

    Attributes:
        train: training sentences, as they are read.
        spoiled: 1 where a training sentence was spoiled.
        desired: sentences whose loss is minimised.
        held_out: sentences of the same kind that nothing but the evaluation reads.
    """

    train: tuple[str, ...]
    spoiled: tuple[int, ...]
    desired: tuple[str, ...]
    held_out: tuple[str, ...]


def help_sentences(length: int) -> list[str]:
    """Sentences of Python's help, each once, cut to so many symbols; shorter ones are left out."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    found = (" ".join(one.split()) for part in re.split(r"\n\s*\n", text) for one in SENTENCE.split(part))
    return [*dict.fromkeys(one[:length] for one in found if len(one) >= length and one.isascii() and one[0].isupper())]


def spoil(sentence: str, symbols: Sequence[str], rng: np.random.Generator) -> str:
    """A sentence after the paper's edits, never longer than it was.

    >>> spoil("The sun is warm.", "abc", np.random.default_rng(0))
    'ahee sunaiss war'
    """
    length, found = len(sentence), list(sentence)
    for _ in range(max(1, round(EDITS * length))):
        at = int(rng.integers(len(found)))
        edit = int(rng.integers(3)) if len(found) > 1 else 0
        if edit == 0:
            found[at] = symbols[int(rng.integers(len(symbols)))]
        elif edit == 1:
            found.pop()
        else:
            found.insert(at, found[at])
    return "".join(found[:length])


def draw_sentences(
    texts: Sequence[str], sizes: tuple[int, int, int], rng: np.random.Generator, desired: Sequence[str] | None = None
) -> Sentences:
    """Draw training, desired and held-out sentences apart, and spoil half of the first.

    Args:
        texts: sentences.
        sizes: of the three sets.
        rng: of the draw.
        desired: sentences to draw the other two from; None draws them from the same.

    Raises:
        InputError: if there are too few, none is desired, or one that is desired is a training sentence too.
    """
    n_train, n_desired, n_held_out = sizes
    if n_desired < 1:
        raise InputError("the desired set is empty: a policy needs one desired sentence or more")
    own = texts if desired is None else desired
    first = n_train if desired is None else 0
    if len(texts) < n_train or len(own) < first + n_desired + n_held_out:
        raise InputError(
            f"{n_train} training, {n_desired} desired and {n_held_out} held-out sentences were asked for; there are "
            f"{len(texts)} to train on and {len(own) - first} to choose the others from"
        )
    order = rng.permutation(len(texts))
    train = [texts[int(at)] for at in order[:n_train]]
    rest = [own[int(at)] for at in (order[n_train:] if desired is None else rng.permutation(len(own)))]
    wanted, unseen = rest[:n_desired], rest[n_desired : n_desired + n_held_out]
    refuse_overlap(train, [*wanted, *unseen])
    symbols = sorted(set("".join(train)))
    spoiled = rng.permutation(n_train) < n_train // 2
    read = [spoil(one, symbols, rng) if bad else one for one, bad in zip(train, spoiled, strict=True)]
    return Sentences(tuple(read), tuple(int(bad) for bad in spoiled), tuple(wanted), tuple(unseen))


def refuse_overlap(train: Sequence[str], desired: Sequence[str]) -> None:
    """Make sure that nothing desired is trained on: a policy would then have only to look it up.

    Raises:
        InputError: if a sentence is in both.
    """
    both = set(train) & set(desired)
    if both:
        raise InputError(
            f"{len(both)} sentences are training and desired or held-out sentences at once, such as "
            f"{min(both)!r}: leave them out of one"
        )
