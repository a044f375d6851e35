"""Measures of sets of states, and the nulls that they stand beside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy.special import gammaln
from scipy.stats import special_ortho_group

from analyses import analyse
from probes import open_run
from tests.reachable import plain
from tests.reachable.asking import AGAIN, LAST_BLOCK, SUITE, bare, in_set, items, of, run, values
from tests.samples import ERRORS, of_quantile, of_share
from tests.tolerances import FLOAT64_SOLVED, LOGITS, STORED, TWO_ROUTES
from tests.trained import MODEL

FOUR_DIGITS = 0.00005 + LOGITS  # absolute: one printed with four decimals
RATIOS = TWO_ROUTES / 0.1  # logarithms of ratios, a tenth in size, of two distances that are off by LOGITS each
N_ROTATIONS = 99
LENGTH = 24  # tokens


@pytest.mark.parametrize("level", [1, 2, 3])
def test_lifetime_population_ranks_and_dimension_of_a_set_are_those_of_its_states(swept: Any, level: int) -> None:
    x = swept.last[swept.level == level]
    a, singular, variance = np.abs(x), np.linalg.svd(x, compute_uv=False), np.linalg.eigvalsh(np.cov(x.T))
    share, used = singular / singular.sum(), a > 0.1 * np.median(a)
    by_hand = {
        "mean_lifetime_sparseness": (1 - a.mean(0) ** 2 / np.square(x).mean(0)).mean(),
        "mean_population_sparseness": (1 - a.mean(1) ** 2 / np.square(x).mean(1)).mean(),
        "dead_unit_share": (~used).all(0).mean(),
        "always_on_unit_share": used.all(0).mean(),
        "rankme": math.exp(-(share[share > 0] * np.log(share[share > 0])).sum()),
        "covariance_participation_ratio": variance.sum() ** 2 / np.square(variance).sum(),
        "stable_rank": np.square(singular).sum() / singular[0] ** 2,
    }
    for metric, value in by_hand.items():
        assert in_set(swept, metric, level) == pytest.approx(value, rel=TWO_ROUTES), metric
    texts = [tuple(own.ids) for own, at in zip(swept.shown, swept.level, strict=True) if at == level]
    distinct = np.stack([x[texts.index(text)] for text in dict.fromkeys(texts)])
    assert in_set(swept, "repeated_share", level) == pytest.approx(1 - len(distinct) / len(x))
    assert level > 1 or len(distinct) <= len(x) - AGAIN
    assert in_set(swept, "two_nn_dimension", level) == pytest.approx(plain.two_nn(distinct), rel=RATIOS)


def test_lifetime_and_population_sparseness_of_shards_are_those_of_the_whole(swept: Any, tmp_path: Path) -> None:
    measures = ["mean_lifetime_sparseness", "mean_population_sparseness"]
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["final_norm"], "metrics": ["treves_rolls"]}
    for words in (("--shard", "0/2"), ("--shard", "1/2"), ()):
        bare(tmp_path, *words, **keys, controls="none", populations=measures)
    records = open_run(tmp_path / "run")
    for level in (1, 2, 3):
        a = np.abs(swept.last[swept.level == level])
        lifetime, population = ((a.mean(axis) ** 2 / np.square(a).mean(axis)) for axis in (0, 1))
        for metric, shares in zip(measures, (lifetime, population), strict=True):
            found = of(records.populations(), metric=metric, group=f"items/{'shifted' if level == 3 else 'in'}/{level}")
            assert found["value"].item() == pytest.approx((1 - shares).mean(), rel=TWO_ROUTES)
            assert found["n_vectors"].item() == len(a)
    every = 1 - np.abs(swept.last).mean(1) ** 2 / np.square(swept.last).mean(1)
    np.testing.assert_allclose(values(swept, records.measurements()), every, rtol=TWO_ROUTES)


def gaussian_hoyer(d: int) -> float:
    """Expectation for a random direction: d times that of one magnitude, a ratio of gamma functions."""
    l1 = d * math.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)
    return (math.sqrt(d) - l1) / (math.sqrt(d) - 1)


def test_a_prompt_is_printed_beside_the_gaussian_null() -> None:
    text = items()[0]["text"]
    rows = [line.split() for line in run("measure", MODEL, "--text", text, "--metrics", "hoyer").splitlines()]
    printed = {row[0]: float(row[-1]) for row in rows if row and row[-1].startswith("0.")}
    shown = plain.stories().read(text)
    for layer in range(LAST_BLOCK):
        assert printed[f"resid_post.{layer}"] == pytest.approx(
            plain.hoyer(shown.hidden[layer + 1][-1]), abs=FOUR_DIGITS
        )
    assert printed["final_norm"] == pytest.approx(plain.hoyer(shown.hidden[-1][-1]), abs=FOUR_DIGITS)
    assert printed["Gaussian,"] == pytest.approx(gaussian_hoyer(64), abs=FOUR_DIGITS)


def test_the_change_under_rotations_is_what_other_rotations_give(swept: Any) -> None:
    inside, outside = swept.last[swept.level < 3], swept.last[swept.level == 3]
    row = of(swept.sets, metric="rotation_change(hoyer)", site="final_norm", position="last")
    change = plain.hoyer(outside).mean() - plain.hoyer(inside).mean()
    assert row["value"].item() == pytest.approx(change, abs=LOGITS)
    turned = np.array(
        [
            plain.hoyer(outside @ q).mean() - plain.hoyer(inside @ q).mean()
            for q in special_ortho_group(64).rvs(N_ROTATIONS, 1)
        ]
    )
    for p, bound in ((0.025, "ci_low"), (0.975, "ci_high")):
        error = math.sqrt(2) * of_quantile(p, N_ROTATIONS) * turned.std()  # of two samples
        assert row[bound].item() == pytest.approx(np.quantile(turned, p), abs=error)
    p = (np.abs(turned - turned.mean()) >= abs(change - turned.mean())).mean()
    found = of(swept.sets, metric="rotation_p(hoyer)", site="final_norm", position="last")["value"].item()
    assert found == pytest.approx(p, abs=math.sqrt(2) * of_share(p, N_ROTATIONS))


def test_the_untrained_null_is_the_architecture_before_training(swept: Any) -> None:
    config = transformers.AutoConfig.from_pretrained(MODEL)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the sweep
        module = transformers.LlamaForCausalLM(config).eval()
    with torch.inference_mode():
        states = [module.model(torch.tensor([own.ids])).last_hidden_state[0, -1] for own in swept.shown]
    hoyer = plain.hoyer(torch.stack(states).double().numpy())
    rows = swept.records.measurements(site="final_norm", metric="hoyer", position="last", basis="untrained")
    np.testing.assert_allclose(values(swept, rows), hoyer, rtol=LOGITS)
    for level in (1, 2, 3):
        found = in_set(swept, "mean_hoyer", level, basis="untrained")
        assert found == pytest.approx(hoyer[swept.level == level].mean(), rel=LOGITS)


def test_the_shuffled_null_keeps_coordinates_and_loses_what_goes_together(swept: Any) -> None:
    x, rng = swept.last[swept.level == 3], np.random.default_rng(1)
    found = in_set(swept, "mean_lifetime_sparseness", 3, basis="shuffled")
    assert found == pytest.approx(in_set(swept, "mean_lifetime_sparseness", 3), rel=FLOAT64_SOLVED)
    spectra = [np.linalg.eigvalsh(np.cov(rng.permuted(x, axis=0).T)) for _ in range(200)]
    ratios = [own.sum() ** 2 / np.square(own).sum() for own in spectra]
    found = in_set(swept, "covariance_participation_ratio", 3, basis="shuffled")
    assert found == pytest.approx(np.mean(ratios), abs=ERRORS * np.std(ratios))
    assert in_set(swept, "covariance_participation_ratio", 3) < np.mean(ratios) - ERRORS * np.std(ratios)


def test_texts_of_one_length_are_reported_as_excess_over_the_null(tmp_path: Path) -> None:
    keys = {
        "models": [str(MODEL)],
        "suites": [SUITE],
        "sites": ["final_norm"],
        "metrics": ["hoyer"],
        "controls": "none",
    }
    bare(tmp_path, **keys, min_tokens=LENGTH, max_tokens=LENGTH)
    records = open_run(tmp_path / "run")
    assert set(records.inputs()["n_tokens"]) == {LENGTH}
    (found,) = (one for one in analyse(records, "difficulty") if one.primary)
    shown = (plain.stories().read(item["text"]) for item in items())
    states = np.stack([own.hidden[-1][LENGTH - 1] for own in shown if len(own.ids) >= LENGTH])
    assert 0 < len(states) < len(items())
    assert found.n == len(states)
    assert found.null is not None
    assert found.null.value == pytest.approx(gaussian_hoyer(64), rel=STORED)
    assert found.null.excess == pytest.approx(plain.hoyer(states).mean() - gaussian_hoyer(64), abs=LOGITS)
