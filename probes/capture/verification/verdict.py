"""Is what the hooks see true? Self-checks of a model, each with the largest deviation found and what is tolerated.

A collector is wrong silently: a table written for last year's module tree, a block that normalises in a new place, a
mask that is dropped. Every check compares what the hooks see with something that does not depend on them, so a wrong
module, an off-by-one position, a post-norm tensor called ``resid_post`` and an ignored mask each fail at least one.

Two checks describe instead of judging: padding on the left, which this toolkit never uses, and the other precision,
which is another model. Their numbers say how much a pipeline that does either may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import torch

from probes.capture.prompts import encode
from probes.capture.verification import checks
from probes.models.loading import LoadedModel
from probes.vocabulary.prompt import Prompt

Verdict = Literal["pass", "fail", "described", "skipped"]
TEXTS: Final = (
    "The sun rose over the hills, and the birds began to sing.",
    "Why?",
    "A list of numbers: 3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79, 50, 28, 84, 19, 71, 69, 39.",
    "def add(a, b):\n    return a + b\n",
)
LENGTHS: Final = (12, 3, 40, 9)


class Tolerance(NamedTuple):
    """Deviations that pass: of a state relative to its scale, of a metric relative to its value."""

    states: float
    metrics: float


# In float32 the largest deviation over tokens. Where nothing is wrong it was 6.7e-6 of states and 2.3e-5 of metrics
# (stories260K, SmolLM2-135M, Gemma 3 270M, tiny models of six families); the mildest planted fault, the neighbouring
# block, moved states by 1.4e-3 in SmolLM2, where one token is 180 times as long as the others. In half precision the
# median over tokens, in units of the precision's eps, in which rounding is the same for both: on the two real models
# 3.7 of states and 7.2 of metrics, eager against sdpa and padded against alone; the neighbouring block 17 of states.
STATES_EPS: Final = 8
METRICS_EPS: Final = 16
FULL: Final = Tolerance(1e-5, 1e-4)


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """Largest deviation that passes in a precision; 8-bit weights are computed with in float16."""
    if dtype in {torch.float32, torch.float64}:
        return FULL
    eps = torch.finfo(dtype if dtype.is_floating_point else torch.float16).eps
    return Tolerance(STATES_EPS * eps, METRICS_EPS * eps)


CHECKS: Final[Mapping[str, checks.Check]] = {
    "hooks leave no trace": checks.hooks_leave_no_trace,
    "hidden states": checks.hidden_states,
    "residual identity": checks.residual_identity,
    "final norm": checks.final_norm,
    "alone or padded": checks.alone_or_padded,
    "eager or sdpa": checks.eager_or_sdpa,
    "left or right padding": checks.left_or_right,
    "other precision": checks.other_precision,
}
DESCRIBED: Final = frozenset({"left or right padding", "other precision"})


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of one self-check.

    Attributes:
        name: which.
        verdict: ``pass`` or ``fail``; ``described`` where no deviation would be a fault; ``skipped`` where it does not
            apply.
        states: deviation of a state (:class:`probes.capture.verification.checks.Deviation`); NaN if none was compared.
        metrics: deviation of each metric relative to its value, by name; empty if none was compared.
        tolerance: what passes.
        detail: where the largest deviation is, or why there is none.
    """

    name: str
    verdict: Verdict
    states: float
    metrics: Mapping[str, float]
    tolerance: Tolerance
    detail: str


def verify(model: LoadedModel, prompts: Sequence[Prompt] | None = None) -> tuple[Verification, ...]:
    """Check that what the hooks see of a model is true.

    Args:
        model: what to check. Nothing about it is changed.
        prompts: prompts of different lengths; None: four short ones.

    Returns:
        One record per check; the hooks are to be trusted iff none has the verdict ``fail``.
    """
    asked = _prompts(model) if prompts is None else prompts
    return tuple(_judge(name, check, model, asked) for name, check in CHECKS.items())


def _judge(name: str, check: checks.Check, model: LoadedModel, prompts: Sequence[Prompt]) -> Verification:
    """Run one check and hold it against the tolerance of the precision that runs."""
    tolerance = tolerance_of(model.dtype)
    try:
        found = check(model, prompts)
    except checks.NotApplicableError as reason:
        return Verification(name, "skipped", np.nan, {}, tolerance, str(reason))
    except Exception as error:  # noqa: BLE001 - whatever stops a check, a silent hook or a faulty model, is its answer
        detail = (str(error) or type(error).__name__).splitlines()[0]
        return Verification(name, "fail", np.nan, {}, tolerance, detail)
    within = not found.states > tolerance.states and not max(found.metrics.values(), default=0.0) > tolerance.metrics
    verdict: Verdict = "described" if name in DESCRIBED else "pass" if within else "fail"
    return Verification(name, verdict, found.states, found.metrics, tolerance, found.where)


def _prompts(model: LoadedModel) -> list[Prompt]:
    """Four prompts of different lengths: text, or seeded token ids for a model without a tokenizer."""
    if model.tokenizer is not None:
        longest = min(64, model.context_length or 64)
        return [encode(model, text, max_tokens=longest) for text in TEXTS]
    rng = np.random.default_rng(0)
    longest = min(max(LENGTHS), model.context_length or max(LENGTHS))
    return [encode(model, rng.integers(0, model.vocabulary, min(n, longest)).tolist()) for n in LENGTHS]
