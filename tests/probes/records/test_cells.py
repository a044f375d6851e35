"""Cells: what is missing is what is wanted less what is done, each cell exactly once."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from probes.records.cells import Block, Cell, Done, missing, subtract


def subsets(names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(lambda chosen: tuple(sorted(chosen)))


blocks = st.builds(
    Block,
    sites=subsets("stu"),
    bases=st.just(("raw",)),
    positions=subsets("lm"),
    metrics=subsets("ghk"),
    outcomes=subsets("xy"),
)


@given(wanted=blocks, done=st.lists(blocks, max_size=4))
def test_subtract_covers_each_missing_cell_exactly_once(wanted: Block, done: list[Block]) -> None:
    left = subtract(wanted, done)
    covered = [cell for block in left for cell in block.cells()]
    recorded = {cell for block in done for cell in block.cells()}
    assert len(covered) == len(set(covered))
    assert set(covered) == wanted.cells() - recorded


@given(wanted=blocks, done=st.lists(blocks, max_size=3))
def test_once_what_is_missing_is_done_nothing_is_missing(wanted: Block, done: list[Block]) -> None:
    assert subtract(wanted, [*done, *subtract(wanted, done)]) == ()


def test_a_new_metric_asks_every_site_for_that_metric_alone() -> None:
    old = Block(sites=("s", "t"), bases=("raw",), positions=("last",), metrics=("gini@1",), outcomes=("nll",))
    new = Block(sites=("s", "t"), bases=("raw",), positions=("last",), metrics=("gini@1", "hoyer@1"), outcomes=("nll",))
    assert subtract(new, [old]) == (Block(sites=("s", "t"), bases=("raw",), positions=("last",), metrics=("hoyer@1",)),)


def test_a_new_version_is_a_new_cell() -> None:
    old = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("gini@1",))
    new = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("gini@2",))
    assert subtract(new, [old]) == (new,)


def left_of(wanted: Block, names: list[str], done: list[Done]) -> dict[Block, list[int]]:
    return {block: at.tolist() for block, at in missing(wanted, pa.array(names), done).items()}


def test_items_are_grouped_by_what_they_lack() -> None:
    wanted = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("g", "h"))
    half = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("g",))
    other = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("h",))
    names = ["a", "b", "c", "d"]
    assert left_of(wanted, names, []) == {wanted: [0, 1, 2, 3]}
    assert left_of(wanted, names, [Done("r", ("b", "d", "elsewhere"), half), Done("r", ("c",), wanted)]) == {
        wanted: [0],
        other: [1, 3],
    }
    assert left_of(wanted, names, [Done("r", ("a", "b", "c", "d"), half), Done("r", ("d", "a"), other)]) == {
        other: [1, 2]
    }


def test_a_failed_item_owes_nothing_until_a_retry_has_measured_it() -> None:
    wanted = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("g", "h"))
    half = Block(sites=("s",), bases=("raw",), positions=("last",), metrics=("g",))
    failed = Done("r", ("a",), half, failed=True)
    assert left_of(wanted, ["a"], [failed]) == {}
    assert list(left_of(wanted, ["a"], [failed, Done("r", ("a",), half)])) == list(subtract_once(wanted, half))


def subtract_once(wanted: Block, done: Block) -> tuple[Block, ...]:
    return subtract(wanted, [done])


def test_outcomes_have_no_place() -> None:
    assert Block(outcomes=("nll",)).cells() == {Cell("", "", "", "nll")}
