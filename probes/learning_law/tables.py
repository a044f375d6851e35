"""Tables of a learning law over its seeds: numbers of every arm, its curves, the search on its way, contributions.

`sparsity learning-law` writes them beside the seeds, and `sparsity report` reads them: ``seeds.csv``, ``table.csv``,
``scaling.csv``, ``curves.csv``, ``course.csv`` and ``contributions.csv``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from probes.intervals import mean_interval
from probes.learning_law.arms import ONLINE, POLICY, UNIFORM, Arm
from probes.learning_law.results import LARGE, read_seeds
from probes.learning_law.scaling import fit_laws, with_intervals

LAWFUL: Final = (UNIFORM, POLICY, ONLINE)  # arms whose scaling laws are compared
POINTS: Final = 60  # of a curve in its table, evenly in the logarithm of time
RANKS: Final = np.linspace(0.1, 0.9, 17)  # of examples with weight, by their contribution


def write_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write every table of a learner; back come the means over seeds and the scaling laws.

    Args:
        folder: of the learner.
    """
    seeds = read_seeds(folder)
    rows = table(seeds)
    found = summary(rows), scaling(seeds)
    courses = {seed: (folder / f"seed-{seed}" / f"course-{LARGE}.json").read_text(encoding="utf-8") for seed in seeds}
    course = [pd.DataFrame(json.loads(text)).assign(seed=seed) for seed, text in courses.items()]
    for name, own in (
        ("seeds", rows),
        ("table", found[0]),
        ("scaling", found[1]),
        ("curves", curves(seeds)),
        ("course", pd.concat(course, ignore_index=True)),
        ("contributions", spread(seeds)),
    ):
        own.to_csv(folder / f"{name}.csv", index=False)
    return found


def table(seeds: Mapping[int, Mapping[str, Arm]]) -> pd.DataFrame:
    """A row per seed and arm."""
    rows = [{"seed": seed, **arm.row(own[UNIFORM])} for seed, own in seeds.items() for arm in own.values()]
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds and its 95 % interval (Student's t), a row per arm; NaN where a number is not defined.

    >>> rows = pd.DataFrame({"seed": [0, 1], "arm": ["a", "a"], "area": [1.0, 3.0]})
    >>> summary(rows).round(1).to_dict("records")
    [{'arm': 'a', 'n_seeds': 2, 'area': 2.0, 'area_low': -10.7, 'area_high': 14.7}]
    """
    found: list[dict[str, Any]] = []
    for arm, own in rows.groupby("arm", sort=False):
        row: dict[str, Any] = {"arm": arm, "n_seeds": own["seed"].nunique()}
        for name in own.columns.drop(["seed", "arm"]):
            mean, low, high, _ = mean_interval(own[name].to_numpy(np.float64))
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        found.append(row)
    return pd.DataFrame(found)


def scaling(seeds: Mapping[int, Mapping[str, Arm]]) -> pd.DataFrame:
    """Scaling laws of the held-out losses of some arms, one floor for all, with intervals over seeds."""
    curves = {
        name: np.array([own[name].held_out[1:] for own in seeds.values()])
        for name in LAWFUL
        if all(name in own and own[name].diverged < 0 for own in seeds.values())
    }
    laws = fit_laws({name: own.mean(axis=0) for name, own in curves.items()})
    found = with_intervals(curves, UNIFORM, np.random.default_rng(0))
    rows: list[dict[str, Any]] = []
    for name, numbers in found.items():
        row: dict[str, Any] = {"arm": name, "explained": laws[name].explained}
        for what, own in numbers.items():
            row |= {what: own.value, f"{what}_low": own.low, f"{what}_high": own.high}
        rows.append(row)
    return pd.DataFrame(rows)


def curves(seeds: Mapping[int, Mapping[str, Arm]]) -> pd.DataFrame:
    """Losses of every seed and arm after 0, 1 and later steps, spaced evenly in the logarithm of time."""
    rows: list[dict[str, Any]] = []
    for seed, own in seeds.items():
        for arm in own.values():
            n_steps = len(arm.held_out) - 1
            for step in map(int, _spaced(n_steps) if n_steps > 0 else ()):
                told: dict[str, Any] = {"seed": seed, "arm": arm.name, "step": step}
                rows.append({**told, "desired": arm.desired[step], "held_out": arm.held_out[step]})
    return pd.DataFrame(rows, columns=["seed", "arm", "step", "desired", "held_out"])


def _spaced(n_steps: int) -> Int[np.ndarray, " points"]:
    return np.unique(np.concatenate([[0.0], np.geomspace(1, n_steps, POINTS)]).round().astype(np.int64))


def spread(seeds: Mapping[int, Mapping[str, Arm]]) -> pd.DataFrame:
    """Quantiles of contributions over their weighted mean, among examples with weight, at the moments kept.

    All are 1 where examples contribute equally. A moment whose mean is not positive, or that has fewer than two
    examples with weight, is left out.
    """
    rows: list[dict[str, Any]] = []
    for seed, own in seeds.items():
        for arm in own.values():
            if arm.seen is None:
                continue
            for quantity, values in (("paper", arm.seen.now), ("exact", arm.seen.exact)):
                for step, each, weights in zip(arm.seen.steps, values, arm.seen.weights, strict=True):
                    told = {"seed": seed, "arm": arm.name, "step": step, "quantity": quantity}
                    for rank, value in zip(RANKS, _relative(each, weights), strict=False):
                        rows.append({**told, "rank": round(float(rank), 2), "value": float(value)})
    return pd.DataFrame(rows, columns=["seed", "arm", "step", "quantity", "rank", "value"])


def _relative(each: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " ranks"]:
    on = weights > 0
    mean = float(np.average(each, weights=weights)) if on.any() else math.nan
    return np.quantile(each[on] / mean, RANKS) if on.sum() > 1 and mean > 0 else np.empty(0)
