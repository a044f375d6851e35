"""Heads and groups of experts: substituted as coordinates are, and measured as sets, from a spec to an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyses.findings.registry import analyse
from probes.capture import capture_states
from probes.controls.stage import control
from probes.controls.substitution import exchanged, substitute
from probes.controls.units import unit_blocks
from probes.models import load_model
from probes.records import open_run
from probes.sweep.run import run_sweep
from probes.vocabulary import names
from probes.vocabulary.sites import Site
from sparsity import hoyer
from sparsity.locate import substitution_shares
from sparsity.population import population_profile
from tests.probes.conftest import MakeSpec, tiny_llama
from tests.probes.controls.test_stage import N, ask, frames
from tests.tolerances import FLOAT64_SOLVED, LOGITS

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
    model = load_model(tiny_llama(hidden_size=16, num_hidden_layers=2))
    asked = replace(ask(model, positions=("last",), sites=("attn_z",)), controls=("populations", "substitution"))
    rows = frames(control(model, asked))["populations"]
    rows = rows[(rows["group"] == "s/shifted/x") & (rows["layer"] == 1) & (rows["site"] == "attn_z")]
    ids = [list(prompt.ids[:8]) for prompt in asked.prompts]
    states = capture_states(model, ids, "attn_z.1", "last")
    z = np.stack([np.stack(list(own["vector"])) for _, own in states.groupby("unit")], axis=1).astype(np.float64)
    change = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_CHANGE]["value"].item()
    whole = hoyer(z.reshape(len(z), -1))
    assert change == pytest.approx(whole[N:].mean() - whole[:N].mean(), rel=1e3 * LOGITS)
    shares = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_FORWARD].set_index("unit")["value"]
    assert sorted(shares.index) == list(range(HEADS))
    curve = rows[rows["metric"] == names.UNIT + names.SUBSTITUTION_CURVE].set_index("unit")["value"]
    assert curve[HEADS] == pytest.approx(1.0)  # all heads together are all of the change
    ranks = rows[rows["metric"] == "rankme"].set_index("unit")["value"]
    for head in range(HEADS):
        expected = population_profile(z[N:, head], ["rankme"])["rankme"]
        assert ranks[head] == pytest.approx(expected, rel=1e3 * LOGITS)


def test_groups_of_experts_are_units_where_the_model_has_them() -> None:
    model = load_model(tiny_llama())
    assert unit_blocks(model, Site.parse("attn_z.0")) == HEADS
    assert unit_blocks(model, Site.parse("resid_post.0")) == 0


def test_a_sweep_asks_and_the_question_answers(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(n=24, sites=["attn_z"], positions=["last"], controls=["substitution"], metrics=["hoyer"])
    run_sweep(spec, tmp_path / "run")
    run = open_run(tmp_path / "run")
    found = [finding for finding in analyse(run, "heads") if finding.answered]
    assert found
    rows = run.populations()
    for finding in found:
        scope = finding.scope
        here = (rows["layer"] == scope.layer) & (rows["metric"] == names.UNIT + names.SUBSTITUTION_CURVE)
        here &= (rows["unit"] == 1) & rows["group"].astype(str).str.endswith(f"/{scope.group}")
        assert finding.estimate == pytest.approx(rows[here]["value"].item())
        assert "head" in finding.text
        assert finding.plot is not None
        n_heads = run.measurements(site="attn_z")["unit"].max() + 1
        assert len(finding.plot.marks) == 2 * n_heads
