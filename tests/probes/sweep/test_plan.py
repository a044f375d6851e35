"""Plans: every missing cell in exactly one batch, cut the same way again after an interruption."""

from hypothesis import given
from hypothesis import strategies as st

from probes.records.cells import Block, Done
from probes.suites import Example, Item
from probes.sweep.plan import RunIdentity, batches, limited

BLOCK = Block(sites=("resid_post.0",), bases=("raw",), positions=("last",), metrics=("gini@1",))
lengths_strategy = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 9), max_size=20)


@given(lengths=lengths_strategy, size=st.integers(1, 6), n_done=st.integers(0, 5))
def test_what_is_left_cuts_into_the_same_batches(lengths: dict[str, int], size: int, n_done: int) -> None:
    whole = batches(BLOCK, lengths, [], size)
    assert sorted(name for batch in whole for name in batch.example_ids) == sorted(lengths)
    done = [Done("r", batch.example_ids, batch.block) for batch in whole[:n_done]]
    assert batches(BLOCK, lengths, done, size) == whole[n_done:]


@given(lengths=lengths_strategy)
def test_longest_items_come_first(lengths: dict[str, int]) -> None:
    order = [lengths[name] for batch in batches(BLOCK, lengths, [], 3) for name in batch.example_ids]
    assert order == sorted(order, reverse=True)


def test_identity_depends_on_what_is_measured_and_nothing_else() -> None:
    fields = {
        "fingerprint": "f",
        "dtype": "float32",
        "attention": "sdpa",
        "template": "none",
        "bos": "auto",
        "max_tokens": None,
        "suite": "s",
        "suite_version": "1",
    }
    ids = {RunIdentity(**{**fields, name: "other"}).run_id() for name in fields if name != "max_tokens"}
    ids |= {RunIdentity(**fields).run_id(), RunIdentity(**{**fields, "max_tokens": 9}).run_id()}
    assert len(ids) == len(fields) + 1


def item(name: str, cluster: str, level: float) -> Item:
    return Item(name, Example(text=name, level=level, cluster=cluster))


def test_limits_keep_the_shifts_of_one_source_together() -> None:
    items = [item("a1", "a", 1.0), item("b1", "b", 1.0), item("b2", "b", 2.0), item("a2", "a", 2.0)]
    assert [name for name, _ in limited(items, 1)] == ["a1", "a2"]
    assert limited(items, None) == items


def test_limits_draw_from_many_clusters() -> None:
    books = [item(f"{book}{page}", book, 1.0) for book in "abc" for page in range(4)]
    assert [name for name, _ in limited(books, 4)] == ["a0", "a1", "b0", "c0"]
