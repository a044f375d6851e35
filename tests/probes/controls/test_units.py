"""Heads and groups of experts: substituted as coordinates are, and measured as sets, from a spec to an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyses.findings.registry import analyse
from probes.controls.member_states import Sample
from probes.controls.populations import PopulationRows
from probes.controls.substitution import exchanged, substitute
from probes.controls.units import add_units, unit_blocks
from probes.models import load_model
from probes.records import open_run
from probes.sweep.run import run_sweep
from probes.vocabulary import names
from probes.vocabulary.sites import Site
from sparsity import hoyer
from sparsity.locate import substitution_shares
from tests.probes.conftest import MakeSpec, tiny_llama
from tests.probes.controls.test_stage import N, ask
from tests.samples import ERRORS
from tests.tolerances import FLOAT64_SOLVED

HEADS, WIDE = 4, 6


def test_blocks_are_the_parts_of_the_general_method() -> None:
    rng = np.random.default_rng(0)
    reference, group = rng.standard_normal((2, 30, HEADS * WIDE))
    group *= np.repeat([1.0, 4.0, 0.3, 1.0], WIDE) ** rng.standard_normal((30, 1))
    items = np.arange(30)
    found = substitute(reference, group, items, items, np.random.default_rng(3), HEADS)
    parts = np.arange(HEADS * WIDE).reshape(HEADS, WIDE).tolist()
    general = substitution_shares(reference, group, "hoyer", permutations=0, rng=np.random.default_rng(3), parts=parts)
    np.testing.assert_allclose(found.forward.value, general.forward, rtol=FLOAT64_SOLVED)
    np.testing.assert_allclose(found.backward.value, general.backward, rtol=FLOAT64_SOLVED)
    assert found.k50.value == general.k50
    np.testing.assert_array_equal(found.order, general.order)
    single, blocks_of_one = exchanged(reference, group), exchanged(reference, group, HEADS * WIDE)
    np.testing.assert_array_equal(single, blocks_of_one)


def test_rows_of_heads_repeat_by_hand() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2 * N, HEADS, WIDE)).astype(np.float32)
    z[N:, 2] *= 5  # one head of the shifted group is long
    items = np.arange(2 * N, dtype=np.int32)
    sample = Sample(Site.parse("attn_z.1"), "last", items, items * 0, z.reshape(2 * N, -1))
    groups = np.repeat(["s/in/x", "s/shifted/x"], N)
    model = load_model(tiny_llama(hidden_size=16, num_hidden_layers=2))
    asked = replace(ask(model, positions=("last",), sites=("attn_z",)), controls=("populations", "substitution"))
    made = PopulationRows("r")
    assert add_units(made, sample, HEADS, groups, asked, ["s/in/x"], np.random.default_rng) == {}
    rows = made.table().to_pandas()
    rows = rows[rows["group"] == "s/shifted/x"]
    (change,) = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_CHANGE].itertuples()
    whole = hoyer(sample.vectors.astype(np.float64))
    # pairs repeat some items; the interval is 3.92 standard errors long
    error = (change.ci_high - change.ci_low) / 3.92
    assert change.value == pytest.approx(whole[N:].mean() - whole[:N].mean(), abs=ERRORS * error)
    shares = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_FORWARD].set_index("unit")["value"]
    assert sorted(shares.index) == list(range(HEADS))
    assert shares.idxmax() == 2
    curve = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_CURVE].set_index("unit")["value"]
    assert curve[HEADS] == pytest.approx(1.0)  # all heads together are all of the change
    assert rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_K50]["value"].item() == 1
    ranks = rows[rows["metric"] == "rankme"].set_index("unit")["value"]
    for head in range(HEADS):
        singular = np.linalg.svd(z[N:, head].astype(np.float64), compute_uv=False)
        p = singular / singular.sum()
        assert ranks[head] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=FLOAT64_SOLVED)


def test_groups_of_experts_are_units_where_the_model_has_them() -> None:
    model = load_model(tiny_llama())
    assert unit_blocks(model, Site.parse("attn_z.0")) == HEADS
    assert unit_blocks(model, Site.parse("resid_post.0")) == 0


def test_a_sweep_asks_and_the_question_answers(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(n=24, sites=["attn_z"], positions=["last"], controls=["substitution"], metrics=["hoyer"])
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    rows = run.populations()
    n_heads = int(run.measurements(site="attn_z")["unit"].max()) + 1
    shares = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_FORWARD]
    assert set(shares["unit"]) == set(range(n_heads))
    assert set(shares["layer"]) == {0, 1}
    found = analyse(run, "heads")
    assert len(found) == rows.loc[rows["metric"] == names.UNIT + names.SUBSTITUTION_CHANGE, "group"].nunique()
    assert all("head" in finding.text for finding in found)
