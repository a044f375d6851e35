"""Plans: every missing cell in exactly one batch, cut the same way again after an interruption."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.records.cells import Block, Done, missing
from probes.suites import Example, Suite
from probes.sweep.item_store import ItemStore, store_items
from probes.sweep.planning.plan import RunIdentity, batches
from probes.vocabulary.axes import Axis

BLOCK = Block(sites=("resid_post.0",), bases=("raw",), positions=("last",), metrics=("gini@1",))
lengths_strategy = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 9), min_size=1, max_size=20)


def suite_of(*examples: Example) -> Suite:
    axis = Axis(name="a", unit="", kind="nominal", harder=None)
    return Suite(name="s", version="1", axis=axis, generate=lambda _: examples, description="", source="")


def store_of(*examples: Example, limit: int | None = None) -> ItemStore:
    return store_items(suite_of(*examples), np.random.default_rng(0), limit)


def cut(store: ItemStore, size: int, done: list[Done]) -> list[list[str]]:
    """The names in each batch that is left."""
    plan = batches(store, missing(BLOCK, store.example_ids, done), size)
    return [store.example_ids.take(batch.items).to_pylist() for batch in plan]


@given(
    lengths=lengths_strategy, size=st.integers(1, 6), n_done=st.integers(0, 5), order=st.randoms(use_true_random=False)
)
def test_what_is_left_cuts_into_the_same_batches(lengths: dict[str, int], size: int, n_done: int, order) -> None:
    examples = [Example(id=name, text="x" * length) for name, length in lengths.items()]
    whole = cut(store_of(*examples), size, [])
    assert sorted(name for batch in whole for name in batch) == sorted(f"s:{name}" for name in lengths)
    done = [Done("r", tuple(batch), BLOCK) for batch in whole[:n_done]]
    order.shuffle(examples)
    assert cut(store_of(*examples), size, done) == whole[n_done:]


@given(lengths=lengths_strategy)
def test_longest_items_come_first(lengths: dict[str, int]) -> None:
    store = store_of(*(Example(id=name, text="x" * length) for name, length in lengths.items()))
    order = [lengths[name.removeprefix("s:")] for batch in cut(store, 3, []) for name in batch]
    assert order == sorted(order, reverse=True)


def test_items_that_begin_alike_share_batches_and_go_on_sharing_them() -> None:
    first, turns = "a solved example " * 8, (("user", "a question " * 12), ("assistant", "an answer"))
    alike = [Example(id=f"a{n}", text=first + "x" * n) for n in range(9)]
    chats = [Example(id=f"c{n}", text="x" * n, before=turns) for n in range(1, 9)]
    others = [Example(id=f"o{n}", text="y" * (100 + n)) for n in range(9)] + [
        Example(id=f"p{n}", text="z" * n) for n in range(7)
    ]
    whole = cut(store_of(*alike, *chats, *others), 4, [])
    kinds = [{name.removeprefix("s:")[0] for name in batch} for batch in whole]
    assert all(len(kind) == 1 or kind == {"o", "p"} for kind in kinds)
    done = [Done("r", tuple(batch), BLOCK) for batch in whole[:3]]
    assert cut(store_of(*alike, *chats, *others), 4, done) == whole[3:]


def test_identity_depends_on_what_is_measured_and_nothing_else() -> None:
    fields = {
        "fingerprint": "f",
        "dtype": "float32",
        "attention": "sdpa",
        "template": "none",
        "bos": "auto",
        "max_tokens": None,
        "reading": "[2]",
        "suite": "s",
        "suite_version": "1",
    }
    ids = {RunIdentity(**{**fields, name: "other"}).run_id() for name in fields if name != "max_tokens"}
    ids |= {RunIdentity(**fields).run_id(), RunIdentity(**{**fields, "max_tokens": 9}).run_id()}
    assert len(ids) == len(fields) + 1


def item(name: str, cluster: str, level: float) -> Example:
    return Example(id=name, text=name, level=level, cluster=cluster)


def test_limits_keep_the_shifts_of_one_source_together() -> None:
    items = [item("a1", "a", 1.0), item("b1", "b", 1.0), item("b2", "b", 2.0), item("a2", "a", 2.0)]
    assert [name for name, _ in store_of(*items, limit=1)] == ["s:a1", "s:a2"]
    assert [example for _, example in store_of(*items)] == items


def test_limits_draw_from_many_clusters() -> None:
    books = [item(f"{book}{page}", book, 1.0) for book in "abc" for page in range(4)]
    assert [name for name, _ in store_of(*books, limit=4)] == ["s:a0", "s:a1", "s:b0", "s:c0"]
