"""Scores of every item of a draw, read from an ordinary sweep that asks each of them without any example.

Pool and questions are scored alike: by the model that answers, in its own template, from what stands before the answer.
Only ``answer_loss`` looks at the answer, also at that of a test question: it is what an oracle would match by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64

from probes.curriculum.draws import Draw
from probes.curriculum.levels import Harder
from probes.curriculum.retrieval import generator
from probes.curriculum.spec import DIFFICULTY, FAMILIARITY, ORACLE, SPARSITY, CurriculumSpec
from probes.familiarity.definitions import FamiliaritySpec
from probes.records.read import Records
from probes.vocabulary.axes import Axis

OUTCOMES: Final = {"loss": "mean_nll", "entropy": "next_token_entropy", ORACLE: "nll"}


class Score(NamedTuple):
    """A score of every item of a draw.

    Attributes:
        values: in the order of the draw; NaN where an item has none.
        harder: which end counts as hard.
    """

    values: Float64[np.ndarray, " items"]
    harder: Harder


def read_scores(records: Records, runs: Sequence[str], draw: Draw, spec: CurriculumSpec) -> dict[str, Score]:
    """Every score that a spec can name, of one model.

    Args:
        records: the sweep of scores.
        runs: its runs of this model.
        draw: whose items.
        spec: says where sparsity is read and by which measure familiarity.
    """
    names = [item.example_id for item in draw.items]
    outcomes, inputs = records.outcomes(), records.inputs()
    found: dict[str, Score] = {}
    for place in spec.places():
        rows = records.measurements(site=place.site, metric=str(place.metric), position=spec.position)
        sparser = place.metric.record.sparser
        found[str(place)] = Score(_column(rows, runs, names), sparser or "higher")
    found[SPARSITY] = found[str(spec.places()[0])]
    for name, outcome in OUTCOMES.items():
        found[name] = Score(_column(outcomes[outcomes["name"] == outcome], runs, names), "higher")
    found["length"] = Score(_column(inputs, runs, names, "n_tokens"), "higher")
    found["random"] = Score(np.array([generator(spec.seed, f"level {name}").random() for name in names]), "higher")
    axis = draw.suites[0].axis
    levels = np.array([item.example.level for item in draw.items], dtype=np.float64)
    found[DIFFICULTY] = Score(levels, hard_end(axis))
    if spec.familiarity is not None:
        measure = FamiliaritySpec.parse(spec.familiarity.measures[0])
        rows = records.familiarity(measure=str(measure))
        own = _column(rows.drop_duplicates(["run_id", "example_id"]), runs, names)
        found[FAMILIARITY] = Score(own, "lower" if measure.record.familiar == "higher" else "higher")
    return found


def hard_end(axis: Axis) -> Harder:
    """The hard end of an axis; of one without order the upper, which matters to no rule that only matches levels."""
    return axis.harder or "higher"


def read_states(
    records: Records, runs: Sequence[str], draw: Draw, spec: CurriculumSpec
) -> Float32[np.ndarray, "items width"]:
    """The state of every item at the site of retrieval; NaN where it could not be read."""
    held = records.states(spec.retrieval_site, position=spec.position)
    mine = held.keys["run_id"].isin(list(runs)).to_numpy()
    place = {str(name): row for row, name in zip(np.flatnonzero(mine), held.keys.loc[mine, "example_id"], strict=True)}
    found = np.full((len(draw.items), held.vectors.shape[1]), np.nan, dtype=np.float32)
    for index, item in enumerate(draw.items):
        if item.example_id in place:
            found[index] = held.vectors[place[item.example_id]]
    return found


def _column(
    rows: pd.DataFrame, runs: Sequence[str], names: Sequence[str], column: str = "value"
) -> Float64[np.ndarray, " items"]:
    """One number per item, in the order of some names."""
    own = rows[rows["run_id"].astype(str).isin(list(runs))]
    told: Mapping[str, float] = dict(zip(own["example_id"].astype(str), own[column].astype(float), strict=True))
    return np.array([told.get(name, np.nan) for name in names], dtype=np.float64)
