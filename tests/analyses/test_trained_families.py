"""Architectures trained seed by seed: a planted difference is told from what seeds differ by, and chance is not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analyses import analyse
from analyses.findings.trained_families import compare_families, family_findings, shipped_families
from analyses.findings.verdicts import graded
from probes.lab.paired_table import FAMILIES, SHIPPED_FAMILIES, read_twins
from tests.analyses.sweeps import exposure, text_domains


def planted(gap: float, *, seeds: int = 8):
    """A Llama and a GPT-2 that share what their seed draws; the GPT-2 is `gap` sparser where less familiar."""
    rng = np.random.default_rng(3)
    base = read_twins()[0]
    found = []
    for seed in range(seeds):
        shared = 0.3 * rng.normal()
        for condition, own in (("adamw", 0.0), ("gpt2", -gap)):
            value = shared + own + 0.03 * rng.normal()
            found.append(replace(base, condition=condition, seed=seed, mastered=value, all_facts=value))
    return found


def told(twins):
    found = family_findings(compare_families(twins), analysis="architecture", question="?", suite="lab_exposure")
    return graded(found)


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [(0.2, "significantly positive"), (-0.2, "significantly negative"), (0.0, "not significant")],
)
def test_a_family_is_compared_with_the_llama_of_its_seed(gap, verdict):
    twins = planted(gap)
    (found,) = told(twins)
    assert (found.verdict, found.n_clusters, found.generalises_over) == (verdict, 8, "seeds")
    by_seed = {(twin.condition, twin.seed): -twin.mastered for twin in twins}
    pairs = [by_seed["gpt2", seed] - by_seed["adamw", seed] for seed in range(8)]
    assert found.interval == pytest.approx(tuple(stats.ttest_1samp(pairs, 0.0).confidence_interval()))


def test_few_seeds_are_described():
    (found,) = told(planted(0.2, seeds=4))
    assert found.verdict == "described"
    assert told([twin for twin in planted(0.2) if twin.seed == 0]) == []


def test_the_shipped_table_is_cited_beside_laboratory_facts_and_nowhere_else():
    twins = read_twins(SHIPPED_FAMILIES)
    assert {twin.condition for twin in twins} <= set(FAMILIES)
    rng = np.random.default_rng(4)
    found = analyse(exposure(rng, n_layers=1), "architecture")
    assert [finding.scope.group for finding in found] == [f"trained {family.meaning}" for family in shipped_families()]
    assert all("same facts in the same order" in finding.text for finding in found)
    assert analyse(text_domains(rng, n_layers=1), "architecture") == []
