"""Differences between two sweeps: alike stays alike, and a planted change is found where it was planted alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from analyses.data.differences import OTHER_ARITHMETIC, SAME_ARITHMETIC, Bound, Differences, compare
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMAS
from probes.records.store import Writer

N_ITEMS = 40
METRICS = ("gini", "hoyer")
Change = Callable[[np.ndarray, str], np.ndarray]


def write(
    out: Path, change: Change = lambda values, _: values, torch: str = "2.13", n: int = N_ITEMS, batch_size: int = 8
) -> Path:
    """A small sweep as the store has it; ``change`` is what happened to the values of a metric."""
    values = np.random.default_rng(0).uniform(0.2, 0.8, N_ITEMS).astype(np.float32)[:n]
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
    run |= {"model": "m", "suite": "s", "spec_json": json.dumps({"batch_size": batch_size, "fingerprint": "f"})}
    example = dict.fromkeys(SCHEMAS["examples"].names, "") | {"suite": "s", "level": 0.0, "n_bytes": 1}
    examples = [example | {"example_id": name, "cluster": f"c{index // 2}"} for index, name in enumerate(ids)]
    block = Block(sites=("resid_post.3",), bases=("raw",), positions=("last",), metrics=("gini@1", "hoyer@1"))
    with Writer.open(out) as writer:
        tables = {"runs": [run], "examples": examples, "measurements": rows}
        writer.commit(
            {table: pa.Table.from_pylist(content, schema=SCHEMAS[table]) for table, content in tables.items()},
            [Done("r", tuple(ids), block)],
        )
    session = {"packages": {"torch": torch, "numpy": "2"}, "git": None, "seed": 0, "started": str(out)}
    (out / "manifest.json").write_text(json.dumps({"schema": 2, "sessions": [session]}))
    return out


def found(tmp_path: Path, **second: object) -> Differences:
    return compare(write(tmp_path / "a"), write(tmp_path / "b", **second))


def test_alike_is_alike(tmp_path: Path) -> None:
    differences = found(tmp_path)
    assert differences == Differences(
        facts=(),
        bound=Bound(SAME_ARITHMETIC, "same batches, same machine"),
        moved=(),
        n_compared=2 * N_ITEMS,
        only_first=0,
        only_second=0,
    )


def test_what_is_rounding_depends_on_what_was_the_same(tmp_path: Path) -> None:
    """A change between the two bounds has moved on one machine and not between machines or batches."""
    one = write(tmp_path / "one")
    for name, made, n_moved in (("same", {}, 2), ("machine", {"torch": "2.14"}, 0), ("batches", {"batch_size": 4}, 0)):
        other = write(tmp_path / name, change=lambda values, _: values * (1 + OTHER_ARITHMETIC / 3), **made)
        found = compare(one, other)
        assert len(found.moved) == n_moved, name
        assert name in found.bound.reason
    rounded = write(tmp_path / "rounded", change=lambda values, _: values * (1 + SAME_ARITHMETIC / 3))
    assert compare(one, rounded).moved == ()


def test_fourth_powers_move_four_times_as_far() -> None:
    bound = Bound(OTHER_ARITHMETIC, "other batches")
    assert bound.of("kurtosis") == 4 * bound.of("gini") == 4 * bound.of("top_k_energy(0.1)") == 4 * OTHER_ARITHMETIC


def test_what_other_batches_do_is_noise(tmp_path: Path) -> None:
    differences = found(tmp_path, change=lambda values, _: values * (1 + OTHER_ARITHMETIC / 3), batch_size=4)
    assert differences.moved == ()
    assert [(fact.name, fact.first, fact.second) for fact in differences.facts] == [
        ("runs.model 0 x s.batch_size", 8, 4)
    ]


def test_a_shift_is_found_with_its_size(tmp_path: Path) -> None:
    differences = found(tmp_path, change=lambda v, metric: v + 0.01 if metric == "hoyer" else v, torch="2.14")
    (moved,) = differences.moved
    assert (moved.suite, moved.site, moved.layer, moved.metric) == ("s", "resid_post", 3, "hoyer")
    assert (moved.n_items, moved.n_moved) == (N_ITEMS, N_ITEMS)
    np.testing.assert_allclose([moved.low, moved.mean, moved.high], 0.01, rtol=1e-4)
    assert [fact.name for fact in differences.facts] == ["packages.torch"]


def test_scatter_is_not_a_shift(tmp_path: Path) -> None:
    signs = np.where(np.arange(N_ITEMS) % 4 < 2, 1, -1)
    (moved, _) = found(tmp_path, change=lambda values, _: values + 1e-3 * signs).moved
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
    assert (differences.only_first, differences.only_second, differences.n_compared) == (20, 0, 60)
    assert differences.moved == ()
