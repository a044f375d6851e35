"""Heads: a planted head is named with its share, at the layer that changes most; without a change none is."""

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from probes.vocabulary import names
from tests.analyses.sweeps import DOMAIN, make_sweep, with_table

HEADS = 3


def planted(change: float, half: float):
    levels = [("home", np.nan, "in"), ("away", np.nan, "shifted")]
    made = make_sweep(DOMAIN, levels, effect=lambda *_: 0.0, rng=np.random.default_rng(0), n_per_level=8)
    where = {"run_id": made.runs()["run_id"].iloc[0], "group": "planted/shifted/away", "site": "attn_z"}
    where |= {"basis": "raw", "position": "last", "n_vectors": 8}
    rows = []
    for layer, scale in ((0, 0.1), (1, 1.0)):

        def add(metric: str, unit: int, value: float, spread: float, layer: int = layer) -> None:
            about = {"layer": layer, "unit": unit, "metric": names.UNIT + metric, "value": value}
            rows.append({**where, **about, "ci_low": value - spread, "ci_high": value + spread})

        add(names.SUBSTITUTION_CHANGE, -1, scale * change, scale * half)
        add(names.SUBSTITUTION_K50, -1, 1.0, 0.0)
        for unit, share in enumerate((0.1, 0.7, 0.2)):
            add(names.SUBSTITUTION_FORWARD, unit, share, 0.05)
        for m, share in ((1, 0.7), (2, 0.9), (3, 1.0)):
            add(names.SUBSTITUTION_CURVE, m, share, 0.04)
    return with_table(made, populations=pd.DataFrame(rows, columns=list(made.populations().columns)))


def test_the_head_that_carries_the_change_is_named() -> None:
    (found,) = analyse(planted(0.2, 0.05), "heads")
    assert found.estimate == pytest.approx(0.7)
    assert (found.scope.layer, found.scope.site) == (1, "attn_z")
    assert found.text == (
        "At attn_z.1 (last) head 1 accounts for 70 % [66, 74] of the change of mean Hoyer to away, "
        "+0.20 [+0.15, +0.25] (the largest change of 2 layers), by substitution. Half of it needs 1 of 3 heads."
    )
    cells = {(mark.series, mark.name): mark.value for mark in found.plot.marks}
    assert cells["attn_z.1", "1"] == pytest.approx(0.7 * 0.2)
    assert cells["attn_z.0", "1"] == pytest.approx(0.7 * 0.02)


def test_no_change_names_no_head() -> None:
    (found,) = analyse(planted(0.2, 0.3), "heads")
    assert found.side == 0
    assert "no head is named" in found.text


def test_without_a_change_there_are_no_shares_and_no_figure() -> None:
    made = planted(0.2, 0.3)
    rows = made.populations()
    undefined = rows["metric"].astype(str).str.contains("forward|curve")
    (found,) = analyse(with_table(made, populations=rows.assign(value=rows["value"].mask(undefined))), "heads")
    assert found.plot is None
    assert "no head is named" in found.text
