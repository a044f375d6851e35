"""Outcomes: numbers about what a model made of a prompt, read from the logits of the pass that is measured.

=========================== ================================================== =========== =============================
name                        what                                               range       of
=========================== ================================================== =========== =============================
``nll``                     mean nats per target token, given the prompt        >= 0        the target
``correct``                 1 if greedy decoding would give the target exactly  0 or 1      the target
``margin``                  least logit lead of a target token over the best    real        the target
                            other token (> 0 for all iff ``correct``)
``next_token_entropy``      nats, of the prediction after the prompt            0 .. ln V   the last prompt token
``mean_next_token_entropy`` the same, mean over the positions ``mean`` uses     0 .. ln V   the item's text
``mean_nll``                mean nats per token of the item's text, given all   >= 0        the item's text
                            that is before it; a first token with nothing
                            before it has none
``next_tokens``             no number but a distribution: the likeliest tokens  0 .. 1      the end of the target
                            to follow, in the table of that name                            or of the prompt
=========================== ================================================== =========== =============================

An outcome of the target is NaN for a prompt without one. Outcomes of choices (``choice_correct``, ``choice_margin``
and the same ``_per_byte`` and ``_by_letter``) are those of :mod:`probes.capture.choices`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float64

from probes.vocabulary.prompt import Prompt
from sparsity.registry import Registry

IN_SUM, PER_BYTE, BY_LETTER = "", "_per_byte", "_by_letter"
CHOICE_OUTCOMES: Final = tuple(
    f"choice_{what}{how}" for how in (IN_SUM, PER_BYTE, BY_LETTER) for what in ("correct", "margin")
)
NEXT_TOKENS: Final = "next_tokens"


Statistic = Literal["nll", "lead", "entropy"]
"""What is kept of a row of logits.

``nll``: nats of the token that really follows, NaN where none does. ``lead``: logit of that token less the best other
one, NaN where none follows. ``entropy``: nats.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome: which rows of logits it needs, what is kept of each, and what it makes of that.

    Attributes:
        name: as the ``outcomes`` table holds it.
        rows: indices of one prompt whose next-token logits are needed; may be empty.
        statistic: what is kept of each row.
        value: the outcome from the statistic of those rows; not asked when there are none.
    """

    name: str
    rows: Callable[[Prompt], range]
    statistic: Statistic
    value: Callable[[Float64[np.ndarray, " rows"]], float]


def _target(prompt: Prompt) -> range:
    """Rows that predict the target's tokens."""
    return range(0) if prompt.target_start is None else range(prompt.target_start - 1, len(prompt.ids) - 1)


def _text(prompt: Prompt) -> range:
    """Rows that predict the tokens of the item's text: one before each."""
    own = prompt.content
    return range(own.start - 1, own.stop - 1)


def _mean(rows: Float64[np.ndarray, " rows"]) -> float:
    return float(rows.mean())


def _all_lead(rows: Float64[np.ndarray, " rows"]) -> float:
    return float((rows > 0).all()) if np.isfinite(rows).all() else np.nan


OUTCOMES: Final[Registry[Outcome]] = Registry("outcome")
for _outcome in (
    Outcome("nll", _target, "nll", _mean),
    Outcome("correct", _target, "lead", _all_lead),
    Outcome("margin", _target, "lead", lambda rows: float(rows.min())),
    Outcome("next_token_entropy", lambda p: range(p.end - 1, p.end), "entropy", _mean),
    Outcome("mean_next_token_entropy", lambda p: p.content, "entropy", _mean),
    Outcome("mean_nll", _text, "nll", _mean),
):
    OUTCOMES.add(_outcome.name, _outcome)
# what these need of the measured pass, and more, probes.capture.choices and probes.capture.next_tokens see to
for _name in (*CHOICE_OUTCOMES, NEXT_TOKENS):
    OUTCOMES.add(_name, Outcome(_name, lambda _: range(0), "nll", lambda _: np.nan))

DEFAULT_OUTCOMES: Final = ("nll", "next_token_entropy")
