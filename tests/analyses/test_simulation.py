"""Error rates of whole questions, by simulation: what is claimed when there is nothing, what is found when there is.

Each has a small count for the gate and a full one marked `long`. Sweeps are made in memory; statistics have simulations
of their own (tests/analyses/statistics).
"""

import numpy as np
import pytest

from analyses import analyse
from analyses.statistics.association import associate_items
from analyses.statistics.groups import cluster_means, contrast
from analyses.statistics.onset import contrast_sums, find_onset, slope_sums
from tests.analyses.sweeps import STEPS, make_sweep

LEVELS = [(str(step), float(step), "in") for step in range(1, 5)]
FULL_RUNS = pytest.param(200, marks=pytest.mark.long)
FULL = pytest.param(2000, marks=pytest.mark.long)
MOST_FALSE = 17  # of 200 at 5 %: with 18 or more the chance is .015


def sweep_of(seed, effect, *, paired=False):
    rng = np.random.default_rng(seed)
    return make_sweep(
        STEPS, LEVELS, effect=effect, rng=rng, n_per_level=20, metrics=("hoyer",), n_layers=3, paired=paired
    )


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("runs", [4, FULL_RUNS])
def test_of_200_runs_without_an_effect_at_most_17_say_supported(runs, paired, proof):
    said = {"difficulty": 0, "localization": 0, "covariates": 0}
    for seed in range(runs):
        sweep = sweep_of(seed, lambda *_: 0.0, paired=paired)
        for question in said:
            said[question] += any(f.primary and f.verdict == "supported" for f in analyse(sweep, question))
    assert max(said.values()) <= (MOST_FALSE if runs == 200 else 2)
    design = "sources at every level" if paired else "items that stand alone"
    proof(f"Of {runs} sweeps without an effect ({design}) the pre-stated answer said 'supported' in {said}.")


@pytest.mark.parametrize("runs", [3, FULL_RUNS])
def test_no_effect_is_said_only_inside_the_bound(runs, proof):
    said = wrong = 0
    for seed in range(runs):
        for effect in (0.0, 0.35):
            for found in analyse(sweep_of(seed, lambda *_, e=effect: e), "difficulty"):
                claims = "no effect larger than" in found.text
                said += claims
                inside = found.bound is not None and found.bound.verdict == "negligible"
                wrong += claims and (effect > 0 or not inside)
    assert wrong <= 0.05 * max(said, 20)
    proof(
        f"Of {said} findings that said 'no effect larger than', {wrong} were about a planted effect or "
        "outside the bound."
    )


@pytest.mark.parametrize(("size", "least"), [(0.6, 0.5), (1.0, 0.9)])  # .6: found in 140 of 200, the rest undecided
@pytest.mark.parametrize("runs", [4, FULL_RUNS])
def test_an_effect_planted_at_one_layer_is_found_at_that_layer(runs, size, least, proof):
    found = elsewhere = 0
    for seed in range(runs):
        layer = seed % 3
        sweep = sweep_of(seed, lambda site, own, at=layer: size if site == "resid_post" and own == at else 0.0)
        (primary,) = [f for f in analyse(sweep, "localization") if f.primary]
        is_there = primary.scope.place == f"resid_post.{layer}"
        found += primary.verdict == "supported" and is_there
        elsewhere += primary.verdict == "supported" and not is_there
    assert found >= least * runs
    assert elsewhere <= 0.05 * runs
    proof(
        f"An effect of {size} planted at one of three layers was claimed at that layer in {found} of {runs} sweeps, "
        f"at another in {elsewhere}, and left undecided in the others."
    )


@pytest.mark.parametrize("n", [20, 80])
@pytest.mark.parametrize("runs", [60, FULL])
def test_the_cross_fitted_effect_is_covered(runs, n, proof):
    """The truth is the effect at the place with the largest effect, which is the same at every place here."""
    hits = 0
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's rho of a bivariate normal law with correlation .5
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        score = rng.normal(size=n)
        values = 0.5 * score[:, None] + np.sqrt(0.75) * rng.normal(size=(n, 4))
        sums = slope_sums(values, score, np.arange(n), within=False)
        low, high = find_onset(sums, np.zeros(n, dtype=np.int64), rng=rng).interval
        hits += low <= truth <= high
    assert hits / runs >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) - 0.03
    proof(
        f"Interval of the cross-fitted effect, {n} items, 4 places: covered in {hits / runs:.3f} of {runs} replicates."
    )


@pytest.mark.parametrize("clusters", [8, 40])
@pytest.mark.parametrize("runs", [60, FULL])
def test_means_contrasts_and_trends_are_covered(runs, clusters, proof):
    """Clusters of three items with shared chance; the truth of each is known."""
    hits = {"mean": 0, "rank correlation": 0, "Cohen's d": 0, "Cliff's delta": 0}
    codes = np.repeat(np.arange(clusters), 3)
    shared = np.sqrt(0.5)
    truths = {
        "mean": 0.0,
        "rank correlation": 6 / np.pi * np.arcsin(0.5 / 2),
        "Cohen's d": 1.0,
        "Cliff's delta": 2 * 0.7602499389065233 - 1,  # P(N(1, 2) > 0) = Phi(1 / sqrt 2)
    }
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        x, y = shared * (rng.normal(size=(2, clusters))[:, codes] + rng.normal(size=(2, 3 * clusters)))
        y_of_x = 0.5 * x + np.sqrt(0.75) * y
        mean = cluster_means(y[:, None], codes, resamples=400, rng=rng)
        trend = associate_items(y_of_x[:, None], x[:, None], codes, within=False, resamples=400, rng=rng).correlation()
        far = codes >= clusters // 2
        pair = contrast((y + far)[:, None], far, codes, resamples=400, rng=rng)
        estimates = {
            "mean": mean,
            "rank correlation": trend,
            "Cohen's d": pair.difference,
            "Cliff's delta": pair.delta,
        }
        for name, found in estimates.items():
            hits[name] += bool(found.low[0] <= truths[name] <= found.high[0])
    covered = {name: round(count / runs, 3) for name, count in hits.items()}
    assert min(covered.values()) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) - 0.04
    proof(f"Coverage of 95 % intervals, {clusters} clusters of 3 items, {runs} replicates: {covered}.")


@pytest.mark.parametrize("runs", [40, FULL])
def test_the_onset_set_holds_the_onset(runs, proof):
    hits = 0
    far = np.arange(60) >= 30
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(60, 5)) + far[:, None] * np.array([0.0, 0.0, 1.2, 1.6, 2.0])
        onset = find_onset(contrast_sums(values, [(~far, far)], np.arange(60)), far.astype(np.int64), rng=rng)
        hits += 2 in onset.onset_set
    assert hits / runs >= 0.9
    proof(f"The 95 % onset set held the onset that was planted in {hits / runs:.3f} of {runs} replicates.")
