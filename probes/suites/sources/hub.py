"""Suites from data sets on the Hugging Face hub, through its ``datasets`` library.

A data set is asked for by name, configuration, split and revision. What cannot be had (no network, no such name, a
gated one) is one line at once: the hub is asked for the name first, because a download would retry for half a minute.
Data sets that exist as a loading script only are read from the Parquet files into which the hub converts them
(``revision: refs/convert/parquet``, ``folder`` being the configuration). A local directory stands for a data set, too:
one of data files, or one that ``save_to_disk`` wrote. Class numbers are labels: their names as text, else numbers.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from pydantic import BaseModel, ConfigDict

from probes.errors import InputError
from probes.suites.example import Example, Suite
from probes.suites.question import Question
from probes.suites.sources.fields import FieldMap
from probes.suites.sources.formats import labelled
from probes.suites.sources.labelled import Record

HUB_SECONDS: Final = 10.0
SAVED: Final = ("dataset_dict.json", "state.json")  # what save_to_disk leaves at the root


class HubSource(BaseModel):
    """One split of a data set.

    Attributes:
        hub: name on the hub (``openai/gsm8k``), or a local directory of data files or of ``save_to_disk``.
        config: configuration; None for the only or default one.
        hub_split: split.
        revision: branch, tag or commit; None for the newest. A commit makes the items reproducible.
        folder: directory of the data set to read, where the configuration is a directory.
        streaming: read items as they come instead of downloading the split first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hub: str
    config: str | None = None
    hub_split: str = "test"
    revision: str | None = None
    folder: str | None = None
    streaming: bool = False

    @property
    def part(self) -> str:
        """Configuration and split, by which benchmarks tell their parts."""
        return "/".join(filter(None, (self.config or self.folder, self.hub_split)))

    @property
    def label(self) -> str:
        """Name in messages."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.hub}{at} {self.part}"


class HubSuite(FieldMap, HubSource):
    """A suite declared in the spec: a data set of the hub, and what its fields mean.

    ``{hub: HuggingFaceH4/MATH-500, hub_split: test, name: math, prompt: problem, answer: answer, level: level}``
    """

    def suite(self) -> Suite:
        """The suite that this declaration describes; its version names the revision, if one is pinned."""
        return Suite(
            name=self.name,
            version=f"{self.version}+{self.revision}" if self.revision else self.version,
            axis=self.ruler(),
            generate=self._examples,
            description=f"items of {self.label} on the Hugging Face hub",
            source=self.label,
        )

    def questions(self) -> Iterator[Question]:
        """The items, not yet worded."""
        return self.read(partial(fetch, self))

    def _examples(self, _: np.random.Generator) -> Iterator[Example]:
        return (question.example() for question in self.questions())


def fetch(source: HubSource) -> Iterator[Record]:
    """All items of a split, in order.

    Raises:
        InputError: if the data set cannot be had or the split is empty, in one line that says why and what to do.
    """
    number = 0
    for fields in _rows(source):
        number += 1
        yield Record(f"{source.label}, item {number}", fields, part=source.part)
    if not number:
        raise InputError(f"{source.label}: the split is empty")


def _rows(source: HubSource) -> Iterator[dict[str, Any]]:
    if not Path(source.hub).is_dir():
        _ask(source)
    datasets = importlib.import_module("datasets")  # two seconds, for those who want the hub alone
    try:
        with _quiet(datasets):
            rows = _split(datasets, source)
        classes = _classes(datasets, rows)
        for fields in rows:
            yield labelled(fields, classes)
    except InputError:
        raise
    except Exception as error:  # whatever it is, the user needs one line
        raise InputError(f"{source.label}: {_why(error)}") from error


def _split(datasets: ModuleType, source: HubSource) -> Any:  # noqa: ANN401  a data set in memory, or one that streams
    saved = Path(source.hub, *filter(None, (source.folder or source.config,)))
    if not any((saved / name).is_file() for name in SAVED):
        return datasets.load_dataset(
            source.hub,
            source.config,
            data_dir=source.folder,
            split=source.hub_split,
            revision=source.revision,
            streaming=source.streaming,
        )
    found = datasets.load_from_disk(str(saved))
    if not isinstance(found, datasets.DatasetDict):
        return found  # one split, saved without a name
    if source.hub_split not in found:
        raise InputError(f"{source.label}: no split {source.hub_split!r}; hub_split may be {', '.join(found)}")
    return found[source.hub_split]


def _classes(datasets: ModuleType, rows: Any) -> dict[str, list[str]]:  # noqa: ANN401  as above
    features: dict[str, Any] = getattr(rows, "features", None) or {}
    return {name: list(each.names) for name, each in features.items() if isinstance(each, datasets.ClassLabel)}


@contextmanager
def _quiet(datasets: ModuleType) -> Generator[None]:
    """No progress bars of the library while it loads: the sweep has one of its own."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def _ask(source: HubSource) -> None:
    if source.hub.startswith((".", "/", "~")) or source.hub.count("/") > 1:
        raise InputError(f"no data set directory {source.hub}")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return  # what is in the cache can be read, and anything else fails at once
    try:
        HfApi().dataset_info(source.hub, revision=source.revision, timeout=HUB_SECONDS)
    except Exception as error:  # whatever it is, the user needs one line
        raise InputError(f"{source.label}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """One line of what went wrong, and what to do about it."""
    if isinstance(error, GatedRepoError):
        return "the data set is gated; accept its terms on the hub and log in with `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return "the hub knows no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub knows no such data set (or it is private)"
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    text = (str(error).strip() or type(error).__name__).splitlines()[0].strip().rstrip(".:")
    if "OfflineMode" in text:
        return "not in the hub's cache, and HF_HUB_OFFLINE is set; unset it, or give a local `file`"
    if isinstance(error, OSError) or "httpx" in type(error).__module__:
        return f"the hub cannot be reached ({text}); set HF_HUB_OFFLINE=1 to use what is cached, or give a local `file`"
    return text
