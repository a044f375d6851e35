"""The table of twins: one row per model, one number per question, and means over seeds with their intervals.

What the numbers mean stands with `Twin`; how models are made and measured, in `probes.lab.paired_runs`, which needs
torch. Reading the shipped table does not, so that a report can cite it beside a user's own sweep.

The shipped table (recipe ``TINY``, seeds 0 to 7) says, as means over seeds with 95 % t intervals, of the correlation of
exposure with Hoyer::

                 all facts                mastered                 mastered, without the answer's row
    adamw        -.267 [-.317, -.217]     -.199 [-.265, -.134]     -.009 [-.051, .033]
    equivariant   .012 [-.036,  .059]      .008 [-.025,  .040]      .009 [-.035, .054]
    untrained    -.013 [-.033,  .006]

A row is one draw, of rounding too, which training amplifies. Seed 0 under AdamW (its row: -.207), trained again, gave
-.322 (torch's AVX-512 code; to the bit the same with the code of the day on which the table was made), -.278 (AVX2)
and -.259 (baseline) on one CPU. That is as far apart as seeds are (standard deviation .06): the means above are
results, a single row is not.

Under AdamW all facts lie below what a random direction gives, those never presented by .014 [.012, .017] and those
presented most by .041 [.036, .046]. Twins with shuffled answers and with exposure crossed with recency are built and
tested, but not in the table yet; each model of them takes about 50 seconds of one core.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np

from probes.errors import InputError
from probes.intervals import MeanInterval, mean_interval

TABLE: Final = "twins.csv"
SHIPPED: Final = Path(__file__).parent / TABLE
SHIPPED_FAMILIES: Final = Path(__file__).parent / "architectures.csv"


class Condition(NamedTuple):
    """A twin: what it is for, and what of the recipe it changes; no changes at all for a model that is not trained."""

    meaning: str
    changes: dict[str, Any] | None


CONDITIONS: Final[dict[str, Condition]] = {
    "adamw": Condition("the recipe as it is", {}),
    "equivariant": Condition("a rotation-equivariant optimizer", {"optimizer": "equivariant"}),
    "shuffled": Condition("every prompt as often, nothing to know", {"answers": "shuffled"}),
    "early_late": Condition("exposure crossed with recency", {"order": "early_late"}),
    "untrained": Condition("the model before its first step", None),
}
FAMILIES: Final[dict[str, Condition]] = {
    "gpt2": Condition("GPT-2", {"family": "gpt2", "d_mlp": 266}),
    "mixture": Condition("mixture of experts", {"family": "mixture", "d_mlp": 48}),
    "mamba": Condition("state-space model", {"family": "mamba"}),
    "grouped": Condition("one head of keys and values", {"family": "grouped", "d_mlp": 224}),
    "sliding": Condition("attention to three tokens", {"family": "sliding"}),
}
"""Other architectures on the same facts in the same order, beside ``adamw``, which is a Llama of 119,616 weights: GPT-2
has 119,572, the mixture 120,128 (a token reads half of its experts), and Mamba 110,912, because its inner width is a
multiple of the outer one. Grouped and sliding attention have exactly as many as the Llama."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Measurements of one model; correlations are Spearman's, NaN where too few facts are left.

    Attributes:
        condition: which twin.
        seed: of world, order and weights.
        known_at_unit: share of facts known at the lowest exposure above none.
        n_mastered: facts presented and known.
        all_facts: exposure with Hoyer, over all facts.
        mastered: the same among mastered facts.
        all_facts_without_answer: over all facts, the answer's unembedding row projected out.
        mastered_without_answer: the same among mastered facts.
        rotated: mean of ``all_facts`` over shared rotations.
        rotated_sd: its standard deviation over them.
        exposure_given_recency: exposure with Hoyer among presented facts, given the step of the last presentation.
        recency_given_exposure: that step with Hoyer among presented facts, given exposure.
        unseen_excess: mean Hoyer of facts never presented, minus what a random direction of this width gives exactly.
        most_seen_excess: the same of the facts presented most often.
    """

    condition: str
    seed: int
    known_at_unit: float
    n_mastered: int
    all_facts: float
    mastered: float
    all_facts_without_answer: float
    mastered_without_answer: float
    rotated: float
    rotated_sd: float
    exposure_given_recency: float
    recency_given_exposure: float
    unseen_excess: float
    most_seen_excess: float


MEASURED: Final = tuple(field.name for field in dataclasses.fields(Twin) if field.name not in ("condition", "seed"))


def summarise(twins: Sequence[Twin], condition: str, measure: str) -> MeanInterval:
    """A measure of one condition over seeds, with Student's interval.

    >>> blank = dict.fromkeys(MEASURED, 0.0) | {"n_mastered": 0}
    >>> twins = [Twin(condition="adamw", seed=s, **{**blank, "all_facts": v}) for s, v in enumerate((-0.5, -0.3))]
    >>> [round(number, 2) for number in summarise(twins, "adamw", "all_facts")]
    [-0.4, -1.67, 0.87, 2]
    """
    values = np.array([getattr(twin, measure) for twin in twins if twin.condition == condition], np.float64)
    return mean_interval(values)


def write_twins(path: Path, twins: Sequence[Twin]) -> None:
    """Write one row per model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["condition", "seed", *MEASURED], lineterminator="\n")
        writer.writeheader()
        for twin in twins:
            rounded = {k: f"{v:.5f}" if isinstance(v, float) else v for k, v in dataclasses.asdict(twin).items()}
            writer.writerow(rounded)


def read_twins(path: Path = SHIPPED) -> list[Twin]:
    """Read what `write_twins` wrote; by default the table that is shipped.

    >>> {twin.condition for twin in read_twins()} <= set(CONDITIONS)
    True

    Raises:
        InputError: if there is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [_parsed(row) for row in rows]
    except (OSError, KeyError, ValueError):
        raise InputError(f"{path} is not a table of paired trainings; make one with `sparsity lab twins`") from None


def _parsed(row: dict[str, str]) -> Twin:
    whole = {name: int(row[name]) for name in ("seed", "n_mastered")}
    numbers = {name: float(row[name]) for name in MEASURED if name not in whole}
    return Twin(condition=row["condition"], **cast("dict[str, Any]", {**whole, **numbers}))
