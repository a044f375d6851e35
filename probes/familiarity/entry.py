"""Familiarity entry of a spec: what a sweep wants to know of it.

A list of measures is enough for those that need the model alone. Measures of a corpus are asked of every index under
``corpora``; distances of states, of the texts under ``known``; ``reference_ratio``, of ``reference``; ``exposure``, of
the record that lies beside a laboratory model; ``bits_saved``, of every memory under ``memories``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from probes.errors import InputError
from probes.familiarity.compressors import CODECS
from probes.familiarity.definitions import parse_familiarity
from probes.familiarity.sources import REFERENCE
from probes.suites.files import Source
from sparsity.registry import UnknownNameError

MOST_KNOWN: Final = 10_000


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _source(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
File = Annotated[Source, BeforeValidator(_source)]


class KnownTexts(BaseModel):
    """Texts that the models have read, whose states others are compared with.

    Attributes:
        suite: the ``in`` split of this suite of the sweep, or
        texts: a file.
        site: where the states are compared; one place.
        limit: so many texts at most, the first ones.
        background: texts at large, for ``relative_mahalanobis``.
        name: how tables call them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str | None = None
    texts: File | None = None
    site: str = "final_norm"
    limit: int = Field(default=MOST_KNOWN, ge=2)
    background: File | None = None
    name: str = "known"

    @model_validator(mode="after")
    def _one_source(self) -> KnownTexts:
        if (self.suite is None) == (self.texts is None):
            raise ValueError("known needs either suite (a name) or texts (a file)")
        return self


class FamiliarityEntry(BaseModel):
    """The key ``familiarity`` of a spec.

    Attributes:
        measures: names as in ``sparsity list familiarity``; ``answer.name`` is about the target, given the prompt.
        tokens: whether to record the values of tokens too, in ``familiarity_tokens``.
        corpora: folders that ``sparsity index build`` made.
        known: texts that the models have read.
        reference: another model, or the name of a compressor.
        memories: folders ``knn`` and ``decoder`` that ``sparsity memory train`` made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measures: Annotated[Names, Field(min_length=1)]
    tokens: bool = False
    corpora: Names = ()
    known: KnownTexts | None = None
    reference: str | None = None
    memories: Names = ()


def resolved(entry: FamiliarityEntry, folder: Path, place: str) -> FamiliarityEntry:
    """Write measures out with their values and versions, and paths from the spec's folder on.

    Raises:
        InputError: for an unknown measure, or one that needs something the entry does not name.
    """
    try:
        specs = parse_familiarity(entry.measures)
    except (UnknownNameError, ValueError) as error:
        raise InputError(f"{place}: {error}") from None
    lacking = {"corpus": ("corpora", not entry.corpora), "states": ("known", entry.known is None)}
    lacking["memory"] = ("memories", not entry.memories)
    for spec in specs:
        key, missing = lacking.get(spec.record.needs, ("", False))
        if spec.name == REFERENCE:
            key, missing = "reference", entry.reference is None
        if missing:
            raise InputError(f"{place}: {spec} needs {key}: write familiarity: {{measures: [...], {key}: ...}}")
    changes: dict[str, Any] = {
        "measures": tuple(spec.versioned for spec in specs),
        "corpora": tuple(str(folder / corpus) for corpus in entry.corpora),
        "memories": tuple(str(folder / memory) for memory in entry.memories),
    }
    if entry.reference is not None and entry.reference not in CODECS and (folder / entry.reference).is_dir():
        changes["reference"] = str((folder / entry.reference).resolve())
    if entry.known is not None:
        files: Mapping[str, Source | None] = {"texts": entry.known.texts, "background": entry.known.background}
        found = {key: _below(source, folder) for key, source in files.items() if source is not None}
        changes["known"] = entry.known.model_copy(update=found)
    return entry.model_copy(update=changes)


def _below(source: Source, folder: Path) -> Source:
    return source.model_copy(update={"file": str(folder / source.file)})
