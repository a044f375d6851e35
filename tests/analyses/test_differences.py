"""Differences between two sweeps: alike stays alike, and a planted change is found where it was planted alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from analyses.data.differences import OTHER_ARITHMETIC, SAME_ARITHMETIC, Bound, Differences, compare
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMAS
from probes.records.store import Writer
from tests.tolerances import FLOAT32_ROUNDOFF

N_ITEMS = 40
LARGEST = 0.8  # value before a change
SHIFT = 0.01  # of float32 values, which are rounded before and after
METRICS = ("gini", "hoyer", "participation_ratio")
Change = Callable[[np.ndarray, str], np.ndarray]


def write(
    out: Path,
    change: Change = lambda values, _: values,
    torch: str = "2.13",
    n: int = N_ITEMS,
    batch_size: int = 8,
    attention: str = "sdpa",
    first_on: str = "AVX2",
) -> Path:
    """A small sweep as the store has it; ``change`` is what happened to the values of a metric."""
    values = np.random.default_rng(0).uniform(0.2, LARGEST, N_ITEMS).astype(np.float32)[:n]
    ids = [f"s:{index}" for index in range(n)]
    where = {
        "run_id": "r",
        "site": "resid_post",
        "layer": 3,
        "unit": -1,
        "basis": "raw",
        "position": "last",
        "token": 9,
    }
    rows = [
        {**where, "example_id": name, "metric": metric, "value": value, "n_undefined": 0}
        for metric in METRICS
        for name, value in zip(ids, change(values.copy(), metric).tolist(), strict=True)
    ]
    run = dict.fromkeys(SCHEMAS["runs"].names, "") | {"step": None, "model_seed": None, "seed": 0, "run_id": "r"}
    run |= {
        "model": "m",
        "suite": "s",
        "spec_json": json.dumps({"batch_size": batch_size, "attention": attention, "fingerprint": "f"}),
    }
    example = dict.fromkeys(SCHEMAS["examples"].names, "") | {"suite": "s", "level": 0.0, "n_bytes": 1}
    examples = [example | {"example_id": name, "cluster": f"c{index // 2}"} for index, name in enumerate(ids)]
    block = Block(
        sites=("resid_post.3",),
        bases=("raw",),
        positions=("last",),
        metrics=("gini@1", "hoyer@1", "participation_ratio@1"),
    )
    with Writer.open(out) as writer:
        tables = {"runs": [run], "examples": examples, "measurements": rows}
        writer.commit(
            {table: pa.Table.from_pylist(content, schema=SCHEMAS[table]) for table, content in tables.items()},
            [Done("r", tuple(ids), block)],
        )
    session = {"packages": {"torch": torch, "numpy": "2"}, "git": None, "seed": 0, "simd": "AVX2", "started": "2"}
    begun = {**session, "simd": first_on, "started": "1"}
    (out / "manifest.json").write_text(json.dumps({"schema": 2, "sessions": [begun, session]}))
    return out


def found(tmp_path: Path, **second: object) -> Differences:
    return compare(write(tmp_path / "a"), write(tmp_path / "b", **second))


def test_alike_is_alike(tmp_path: Path) -> None:
    differences = found(tmp_path)
    assert differences == Differences(
        facts=(),
        bound=Bound(SAME_ARITHMETIC, "same batches, same machine"),
        moved=(),
        n_compared=len(METRICS) * N_ITEMS,
        only_first=0,
        only_second=0,
    )


def test_what_is_rounding_depends_on_what_was_the_same(tmp_path: Path) -> None:
    """A change between the two bounds has moved on one machine and not between machines or batches."""
    one = write(tmp_path / "one")
    for name, made, n_moved in (
        ("same", {}, 2),
        ("other machine (torch)", {"torch": "2.14"}, 0),
        ("other batches (batch_size)", {"batch_size": 4}, 0),
        ("other attention kernel", {"attention": "eager"}, 0),
        ("other machine (simd)", {"first_on": "AVX512"}, 0),  # the first of its two calls
    ):
        other = write(tmp_path / name, change=lambda values, _: values * (1 + OTHER_ARITHMETIC / 3), **made)
        found = compare(one, other)
        assert len(found.moved) == n_moved, name
        assert name in found.bound.reason
    rounded = write(tmp_path / "rounded", change=lambda values, _: values * (1 + SAME_ARITHMETIC / 3))
    assert compare(one, rounded).moved == ()


@pytest.mark.parametrize("made", [{}, {"torch": "2.14"}], ids=["same machine", "other machine"])
def test_a_fault_in_one_item_is_found_above_the_bound_and_rounding_below_it_is_not(tmp_path: Path, made: dict) -> None:
    """Planted in each measure at once: nine tenths of its bound in every item, then eleven tenths in one."""
    one = write(tmp_path / "one")
    for share, expected in ((0.9, set()), (1.1, set(METRICS))):

        def plant(values: np.ndarray, metric: str, share: float = share) -> np.ndarray:
            relative = share * Bound(OTHER_ARITHMETIC if made else SAME_ARITHMETIC, "").of(metric)
            hit = np.arange(len(values)) == 7 if share > 1 else np.ones(len(values), dtype=bool)
            return np.where(hit, values.astype(np.float64) * (1 + relative), values)

        found = compare(one, write(tmp_path / str(share), change=plant, **made))
        assert {moved.metric for moved in found.moved} == expected
        assert all(moved.n_moved == 1 for moved in found.moved)


def test_the_bound_says_what_it_is_and_why() -> None:
    bound = Bound(OTHER_ARITHMETIC, "other batches")
    assert bound.of("kurtosis") == 4 * bound.of("gini") == 4 * bound.of("top_k_energy(0.1)") == 4 * OTHER_ARITHMETIC
    fourth = "kappa4, kurtosis, participation_ratio"
    said = f"allowed as rounding: |b - a| up to 1e-05 of the larger, 4e-05 for {fourth} (other batches). The model"
    assert str(bound).startswith(said)
    same = Bound(SAME_ARITHMETIC, "same batches, same machine")
    assert str(same).endswith(f"up to 1e-06 of the larger, 4e-06 for {fourth} (same batches, same machine)")


def test_what_other_batches_do_is_noise(tmp_path: Path) -> None:
    differences = found(tmp_path, change=lambda values, _: values * (1 + OTHER_ARITHMETIC / 3), batch_size=4)
    assert differences.moved == ()
    assert [(fact.name, fact.first, fact.second) for fact in differences.facts] == [
        ("runs.model 0 x s.batch_size", 8, 4)
    ]


def test_a_shift_is_found_with_its_size(tmp_path: Path) -> None:
    differences = found(tmp_path, change=lambda v, metric: v + SHIFT if metric == "hoyer" else v, torch="2.14")
    (moved,) = differences.moved
    assert (moved.suite, moved.site, moved.layer, moved.metric) == ("s", "resid_post", 3, "hoyer")
    assert (moved.n_items, moved.n_moved) == (N_ITEMS, N_ITEMS)
    np.testing.assert_allclose([moved.low, moved.mean, moved.high], SHIFT, rtol=2 * LARGEST * FLOAT32_ROUNDOFF / SHIFT)
    assert [fact.name for fact in differences.facts] == ["packages.torch"]


def test_scatter_is_not_a_shift(tmp_path: Path) -> None:
    signs = np.where(np.arange(N_ITEMS) % 4 < 2, 1, -1)
    moved, *_ = found(tmp_path, change=lambda values, _: values + 1e-3 * signs).moved
    assert moved.low < 0 < moved.high
    assert moved.largest > 1e-3


def test_a_value_that_became_undefined_has_moved(tmp_path: Path) -> None:
    def lose(values: np.ndarray, metric: str) -> np.ndarray:
        if metric == "gini":
            values[0] = np.nan
        return values

    (moved,) = found(tmp_path, change=lose).moved
    assert (moved.metric, moved.n_moved) == ("gini", 1)


def test_items_of_one_sweep_alone_are_counted_not_compared(tmp_path: Path) -> None:
    differences = found(tmp_path, n=30)
    assert (differences.only_first, differences.only_second, differences.n_compared) == (30, 0, 90)
    assert differences.moved == ()
