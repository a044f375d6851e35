"""Measures of familiarity as analyses see them: which end is familiar, and whether the model's output gave it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, NamedTuple


class Promise(NamedTuple):
    """Properties that a measure of familiarity promises.

    Attributes:
        familiar: the end of it that is familiar.
        from_output: whether it is read off the model's own predictions.
    """

    familiar: Literal["higher", "lower"]
    from_output: bool


def promise(measure: str) -> Promise | None:
    """Return what a measure promises; None for one that is not known here."""
    familiarity: Any = import_module("probes.familiarity")  # only where it is needed: it is heavy
    try:
        record = familiarity.FamiliaritySpec.parse(measure).record
    except (ValueError, KeyError, RuntimeError):
        return None
    return Promise(record.familiar, record.needs in ("logits", "memory"))


def written(measure: str, corpus: object) -> str:
    """A measure with the corpus that it asks.

    >>> written("surprisal", None), written("longest_match", "books")
    ('surprisal', 'longest_match in books')
    """
    return f"{measure} in {corpus}" if isinstance(corpus, str) and corpus else measure
