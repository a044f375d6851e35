"""Twins: pairs of one seed are compared, signs are turned, and findings about laboratory facts cite them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analyses import analyse
from analyses.findings.record import Finding, Scope
from analyses.findings.training_pairs import cited, compare, sentence, shipped
from probes.lab.paired_table import read_twins
from tests.analyses.sweeps import exposure, text_domains
from tests.samples import of_mean


def planted(rng, *, gap, seeds=8):
    """Pairs that share a large part by seed; AdamW is `gap` denser where more familiar."""
    base = read_twins()[0]
    found = []
    for seed in range(seeds):
        shared = 0.3 * rng.normal()
        for condition, own in (("adamw", -gap), ("equivariant", 0.0)):
            value = shared + own + 0.03 * rng.normal()
            found.append(replace(base, condition=condition, seed=seed, mastered=value, all_facts=value))
    return found


def test_pairs_of_one_seed_are_compared():
    twins = planted(np.random.default_rng(3), gap=0.2)
    found = compare(twins)
    pairs = [
        next(t.mastered for t in twins if (t.condition, t.seed) == ("equivariant", seed))
        - next(t.mastered for t in twins if (t.condition, t.seed) == ("adamw", seed))
        for seed in range(8)
    ]
    expected = stats.ttest_1samp(pairs, 0.0)
    assert found.difference.mean == pytest.approx(0.2, abs=of_mean(0.03 * 2**0.5, 8))
    assert found.difference.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.difference.interval[0] > 0
    (plain,) = [own for own in found.shown if (own.condition, own.reading) == ("adamw", "mastered")]
    assert plain.over_seeds.interval[0] < 0 < plain.over_seeds.interval[1]  # what seeds share hides it


def test_seeds_without_a_partner_and_single_pairs_say_nothing():
    twins = planted(np.random.default_rng(3), gap=0.2, seeds=3)
    alone = [twin for twin in twins if twin.condition == "adamw" or twin.seed == 1]
    assert compare(alone).n_pairs == 1
    assert sentence(compare(alone)) == ""


def test_a_sweep_of_laboratory_facts_is_told_what_twins_showed_and_no_other_is():
    rng = np.random.default_rng(4)
    (found,) = analyse(exposure(rng, n_layers=1), "paired_training")
    assert found.generalises_over == "seeds"
    assert found.n_clusters == shipped().n_pairs
    assert found.interval == shipped().difference.interval
    assert analyse(text_domains(rng, n_layers=1), "paired_training") == []


def test_only_answers_about_laboratory_facts_cite_them():
    answer = Finding(analysis="readout", question="", scope=Scope(suite="lab_exposure"), estimate=0.3, text="A.")
    assert cited(answer).text == f"A. {sentence(shipped())}"
    assert cited(replace(answer, scope=Scope(suite="mine"))).text == "A."
    assert cited(replace(answer, estimate=float("nan"))).text == "A."
