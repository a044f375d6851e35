"""Sweeps with controls, made in memory: two mechanisms planted, and a third sweep in which nothing carries anything."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from probes.vocabulary import names
from probes.vocabulary.names import Intervened
from tests.analyses.sweeps import Sweep, with_table

Mechanism = Literal["temperature", "alignment", "nothing"]
CURVES = {"temperature": lambda m: 0.8 + 0.01 * min(m, 20), "alignment": lambda m: m / 64, "nothing": lambda m: m / 64}
K50 = {"temperature": 1, "alignment": 32, "nothing": 32}
# change of (entropy, nll) by pinning, with the norm recomputed and frozen
PINS = {
    "temperature": {"recomputed": (-0.3, 0.4), "frozen": (0.1, -0.2)},
    "alignment": {"recomputed": (0.0, 0.0), "frozen": (0.0, 0.0)},
    "nothing": {"recomputed": (0.0, 0.0), "frozen": (0.0, 0.0)},
}


def with_controls(sweep: Sweep, mechanism: Mechanism, rng: np.random.Generator, *, per_group: int = 40) -> Sweep:
    """Add what `controls: default` would write, for the first items of each group."""
    examples = sweep.examples()
    rank = examples.groupby(["split", "level_name"], observed=True).cumcount()
    drawn = set(examples.loc[rank < per_group, "example_id"])
    shifted = examples[(examples["split"] == "shifted") & examples["example_id"].isin(drawn)]
    rows = sweep.measurements()
    own = rows[rows["example_id"].isin(drawn) & (rows["metric"] == "hoyer")]
    last = int(own.loc[own["site"] == "resid_post", "layer"].max())
    at_end = own[(own["site"] == "resid_post") & (own["layer"] == last)]
    at_norm = own[own["site"] == "final_norm"]
    added = [
        _reread(part, basis, keep, rng)
        for part in (at_end, at_norm)
        for basis, keep in (("pca", 1.5), ("without_top(1)", 0.0 if mechanism == "temperature" else 1.0))
    ]
    added.append(_reread(at_norm, names.WITHOUT_ANSWER_ROW, 0.0 if mechanism == "alignment" else 1.0, rng))
    position = str(own["position"].iloc[0])
    return with_table(
        sweep,
        measurements=pd.concat([rows.astype(_text(rows)), *added], ignore_index=True).astype(_names(rows)),
        populations=_populations(sweep, mechanism, last, position, shifted),
        outcomes=pd.concat([sweep.outcomes(), _outcomes(sweep, mechanism, last, position, at_norm, shifted, rng)]),
    )


def _reread(rows: pd.DataFrame, basis: str, keep: float, rng: np.random.Generator) -> pd.DataFrame:
    """The same items in another basis, with `keep` of what they differ by."""
    values = rows["value"].to_numpy(np.float64)
    middle = values.mean()
    noise = rng.normal(size=len(rows)) * values.std() * (0.2 if keep else 1.0)
    return rows.astype(_text(rows)).assign(basis=basis, value=(middle + keep * (values - middle) + noise))


def _populations(sweep, mechanism, last, position, shifted):
    rows = []
    for (suite, level), items in shifted.groupby(["suite", "level_name"], observed=True):
        for site, layer in (("resid_post", last), ("final_norm", last + 1)):
            where = {
                "run_id": sweep.runs()["run_id"].iloc[0],
                "group": f"{suite}/shifted/{level}",
                "site": site,
                "layer": layer,
                "basis": "raw",
                "position": position,
                "n_vectors": len(items),
            }
            curve = CURVES[mechanism]
            change = 0.0 if mechanism == "nothing" else 0.1
            entries = [(names.SUBSTITUTION_CURVE, m, curve(m), 0.03) for m in range(1, 65)]
            entries += [(names.SUBSTITUTION_FORWARD, 20, curve(1), 0.03), (names.SUBSTITUTION_FORWARD, 3, 0.01, 0.03)]
            entries += [
                (names.SUBSTITUTION_K50, -1, K50[mechanism], 0.4),
                (names.SUBSTITUTION_CHANGE, -1, change, 0.02),
            ]
            rows += [
                {**where, "metric": metric, "unit": unit, "value": v, "ci_low": v - half, "ci_high": v + half}
                for metric, unit, v, half in entries
            ]
    return pd.DataFrame(rows, columns=list(sweep.populations().columns))


def _outcomes(sweep, mechanism, last, position, at_norm, shifted, rng):
    run_id = sweep.runs()["run_id"].iloc[0]
    prefix = names.MEAN if position == "mean" else ""
    values = at_norm["value"].to_numpy(np.float64)
    score = (values - values.mean()) / values.std()
    aligned = -score if mechanism == "alignment" else np.zeros(len(score))
    readout = {
        names.ANSWER_ALIGNMENT: 0.2 + 0.05 * (aligned + 0.3 * rng.normal(size=len(score))),
        names.NULL_SHARE: rng.random(len(score)) / 64,
        names.ANSWER_ROW_HOYER: 0.2 + 0.01 * rng.normal(size=len(score)),
    }
    tables = [
        pd.DataFrame(
            {"run_id": run_id, "example_id": at_norm["example_id"].astype(str), "name": prefix + name, "value": v}
        )
        for name, v in readout.items()
    ]
    ids = shifted["example_id"].astype(str).to_numpy()
    clean = {"next_token_entropy": 2.15 + rng.normal(size=len(ids)) * 0.5, "nll": 5.1 + rng.normal(size=len(ids)) * 0.5}
    site = f"resid_post.{last}"
    for number, (outcome, base) in enumerate(clean.items()):
        arms = {Intervened(prefix + outcome, "clean"): base}
        for norm, changes in PINS[mechanism].items():
            pin = base + changes[number] + rng.normal(size=len(ids)) * 0.1
            arms[Intervened(prefix + outcome, "pin", site, 1, norm)] = pin
            arms[Intervened(prefix + outcome, "random", site, 1, norm)] = base + rng.normal(size=len(ids)) * 0.1
        tables += [
            pd.DataFrame({"run_id": run_id, "example_id": ids, "name": str(name), "value": v})
            for name, v in arms.items()
        ]
    return pd.concat(tables, ignore_index=True)


def _text(rows: pd.DataFrame) -> dict[str, str]:
    return {name: "object" for name in rows if isinstance(rows[name].dtype, pd.CategoricalDtype)}


def _names(rows: pd.DataFrame) -> dict[str, str]:
    return dict.fromkeys(_text(rows), "category")
