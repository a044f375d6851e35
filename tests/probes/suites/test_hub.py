"""Suites from the hub: a local data set stands for one of the hub, and what cannot be had is one line at once."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from probes.errors import InputError
from probes.suites.sources.hub import HubSource, HubSuite, fetch


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two configurations as the hub's Parquet branch lays them out."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for folder, questions in {"en": ["one?", "two?"], "de": ["eins?", "zwei?"]}.items():
        place = tmp_path / "set" / folder / "test"
        place.mkdir(parents=True)
        table = pa.table({"question": questions, "answer": [1, 2], "level": [3.0, None]})
        pq.write_table(table, place / "0000.parquet")
    return tmp_path / "set"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_becomes_examples(data_set: Path, streaming: bool) -> None:
    entry = HubSuite(
        hub=str(data_set), folder="de", streaming=streaming, name="t", prompt="question", answer="answer", level="level"
    )
    examples = [item.example for item in entry.suite().items(np.random.default_rng(0))]
    assert [(example.text, example.target, example.label()) for example in examples] == [
        ("eins?", "1", "3"),
        ("zwei?", "2", "t"),
    ]


def test_faults_name_the_data_set_item_and_field(data_set: Path) -> None:
    entry = HubSuite(hub=str(data_set), folder="en", name="t", prompt="problem")
    with pytest.raises(
        InputError, match=r"en/test, item 1: no field 'problem'; there are 'question', 'answer', 'level'"
    ):
        entry.suite().items(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"en/train: Unknown split \"train\". Should be one of \['test'\]"):
        list(fetch(HubSource(hub=str(data_set), folder="en", hub_split="train")))


def test_an_empty_split_is_refused(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [])
    with pytest.raises(InputError, match="en/test: the split is empty"):
        list(fetch(HubSource(hub=str(data_set), folder="en")))


def test_a_torn_file_is_one_line(data_set: Path) -> None:
    (data_set / "en" / "test" / "0000.parquet").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"en/test: Parquet") as raised:
        list(fetch(HubSource(hub=str(data_set), folder="en")))
    assert "\n" not in str(raised.value)


def test_a_pinned_revision_is_part_of_the_version() -> None:
    assert HubSuite(hub="a/b", name="t", revision="abc").suite().version == "1+abc"


def test_offline_is_one_line_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"some/set test: not in the hub's cache, and HF_HUB_OFFLINE is set") as raised:
        list(fetch(HubSource(hub="some/set")))
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 10.0  # importing the library; the hub itself retries for over twenty


def answered(kind: type[Exception]) -> Exception:
    """An error of the hub as it would be raised, without the response that its constructor wants."""
    return kind.__new__(kind, "403\nand a long page")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("name or service not known"), r"the hub cannot be reached \(name or service not known\); set HF_HUB"),
        (answered(GatedRepoError), "the data set is gated; accept its terms"),
        (answered(RepositoryNotFoundError), "the hub knows no such data set"),
    ],
)
def test_what_the_hub_refuses_is_said_plainly(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(HfApi, "dataset_info", refuse)
    with pytest.raises(InputError, match=message) as raised:
        list(fetch(HubSource(hub="some/set")))
    assert "\n" not in str(raised.value)


def test_a_directory_that_is_not_there_is_no_name_of_the_hub() -> None:
    with pytest.raises(InputError, match="no data set directory /nowhere/set"):
        list(fetch(HubSource(hub="/nowhere/set")))
