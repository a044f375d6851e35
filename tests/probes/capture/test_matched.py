"""Matched groups agree in what they were matched by, keep as much as they can, and count what they leave out."""

import numpy as np
import pandas as pd
import pytest

from probes.capture.matched import match, tokens_of
from probes.errors import InputError


def items(n: int = 400) -> pd.DataFrame:
    """Sparsity follows length alone, and the hard are longer: a difference between levels that is nothing else."""
    rng = np.random.default_rng(0)
    level = rng.permutation(np.repeat(["easy", "hard", "harder"], [n // 2, n // 4, n // 4]))
    n_tokens = rng.poisson(np.select([level == "easy", level == "hard"], [20, 24], 28))
    value = 0.01 * n_tokens + 0.001 * rng.standard_normal(n)
    return pd.DataFrame({"level": level, "n_tokens": n_tokens, "n_bytes": 4.0 * n_tokens, "value": value})


@pytest.mark.parametrize("by", [["n_tokens"], {"n_bytes": 8.0}])
def test_a_difference_that_is_length_alone_is_gone_after_matching(by):
    frame = items()
    matched, dropped = match(frame, by, groups="level", rng=np.random.default_rng(1))
    raw, fair = frame.groupby("level").value.mean(), matched.groupby("level").value.mean()
    assert raw["harder"] - raw["easy"] > 0.06
    assert abs(fair["harder"] - fair["easy"]) < 0.006
    counts = matched.level.value_counts()
    assert counts.min() == counts.max() > 0
    assert (dropped + counts == frame.level.value_counts()).all()


def test_each_stratum_keeps_the_smallest_groups_number_of_every_group():
    frame = items()
    matched, _ = match(frame, ["n_tokens"], groups="level", rng=np.random.default_rng(1))
    before = pd.crosstab(frame.n_tokens, frame.level).min(axis=1)
    after = pd.crosstab(matched.n_tokens, matched.level).reindex(before.index, fill_value=0)
    for level in after:
        assert (after[level] == before).all()
    assert matched.index.is_monotonic_increasing
    assert matched.equals(frame.loc[matched.index])


def test_the_draw_is_the_generators_and_nothing_elses():
    frame = items()
    one, two, other = (match(frame, ["n_tokens"], groups="level", rng=np.random.default_rng(s)).rows for s in (1, 1, 2))
    assert one.equals(two)
    assert not one.index.equals(other.index)


def test_rows_without_a_value_and_strata_that_a_group_lacks_are_dropped_and_counted():
    frame = pd.DataFrame({"level": list("aabb"), "n": [1.0, np.nan, 1.0, 2.0]})
    matched, dropped = match(frame, ["n"], groups="level", rng=np.random.default_rng(0))
    assert matched.index.tolist() == [0, 2]
    assert dropped.to_dict() == {"a": 1, "b": 1}
    nothing, dropped = match(frame.assign(n=[1, 2, 3, 4]), ["n"], groups="level", rng=np.random.default_rng(0))
    assert nothing.empty
    assert dropped.to_dict() == {"a": 2, "b": 2}


def test_tokens_are_matched_by_position_and_by_what_they_are():
    tokens = tokens_of({"a": [5, 7, 9], "b": [5, 9], "c": []})
    tokens["level"] = np.where(tokens.example_id == "a", "easy", "hard")
    same_token = match(tokens, ["token_id"], groups="level", rng=np.random.default_rng(0)).rows
    assert sorted(same_token.token_id) == [5, 5, 9, 9]
    both = match(tokens, ["token", "token_id"], groups="level", rng=np.random.default_rng(0))
    assert both.rows.token_id.tolist() == [5, 5]
    assert both.dropped.to_dict() == {"easy": 2, "hard": 1}


def test_what_cannot_be_matched_is_said():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="cannot match by n_chars; columns are level"):
        match(items(), ["n_chars"], groups="level", rng=rng)
    with pytest.raises(InputError, match="at least two groups in 'level', got 1"):
        match(items().query("level == 'easy'"), ["n_tokens"], groups="level", rng=rng)
    with pytest.raises(InputError, match=r"width of n_tokens should be positive and is 0\.0"):
        match(items(), {"n_tokens": 0}, groups="level", rng=rng)
