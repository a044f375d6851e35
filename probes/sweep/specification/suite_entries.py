"""Entries under ``suites`` in a spec: shipped suites, data of one's own, benchmarks, and shifts of either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import BENCHMARKS, BenchmarkSuite
from probes.suites.concepts import NAME as CONCEPTS
from probes.suites.concepts import ConceptSuite
from probes.suites.example import SUITES, Suite
from probes.suites.files import FileSuite, Source
from probes.suites.frozen import FrozenSuite
from probes.suites.laboratory.world_facts import LabSuite
from probes.suites.modality import NAME as MODALITY
from probes.suites.modality import ModalitySuite
from probes.suites.shifts.answer_choices import ChoiceCount
from probes.suites.shifts.conflict import KnowledgeConflict
from probes.suites.shifts.context import ContextDepth, ContextLength
from probes.suites.shifts.demonstrations import Demonstrations
from probes.suites.shifts.instructions import WordingShift
from probes.suites.shifts.noise import NoiseShift
from probes.suites.shifts.shift_suite import SHIFTS, Shift
from probes.suites.shifts.two_questions import TwoQuestions
from probes.suites.sources.hub import HubSuite
from probes.suites.text_domains import NAME as TEXT_DOMAINS
from probes.suites.text_domains import TextDomains
from probes.sweep.specification.validation import checked, mapping
from sparsity.registry import UnknownNameError

_S = TypeVar("_S", bound=Source)


class RegisteredSuite(BaseModel):
    """A suite that the toolkit ships, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    limit: int | None = Field(default=None, ge=1)

    def suite(self) -> Suite:
        """Look the suite up.

        Raises:
            InputError: if there is none of that name.
        """
        try:
            return SUITES[self.name]
        except UnknownNameError:
            known = [*SUITES, *BENCHMARKS, TEXT_DOMAINS, MODALITY, CONCEPTS]
            raise InputError(str(UnknownNameError("suite", self.name, known))) from None


PairedShift = Annotated[
    NoiseShift
    | ChoiceCount
    | ContextLength
    | ContextDepth
    | Demonstrations
    | WordingShift
    | KnowledgeConflict
    | TwoQuestions,
    Field(discriminator="shift"),
]
SuiteEntry = (
    RegisteredSuite
    | TextDomains
    | ModalitySuite
    | ConceptSuite
    | FileSuite
    | HubSuite
    | BenchmarkSuite
    | FrozenSuite
    | LabSuite
    | PairedShift
)


def suite_entry(entry: object, folder: Path, origin: str) -> SuiteEntry | Shift:
    """Read one entry of ``suites``; paths are relative to a folder.

    Raises:
        InputError: if it is no suite, or a field of it is wrong.
    """
    fields = {"name": entry} if isinstance(entry, str) else mapping(entry, f"{origin}: suites")
    place = f"{origin}: suite {fields.get('name', '')!r}"
    if "shift" in fields:
        return _shift(fields, folder, place)
    if {"hub", "frozen", "lab", "files", "norms"}.intersection(fields) or fields.get("name") in (MODALITY, CONCEPTS):
        return _data(fields, folder, place)
    if str(fields.get("name")) in BENCHMARKS:
        benchmark = checked(BenchmarkSuite, fields, f"{origin}: benchmark {fields['name']!r}")
        return benchmark.model_copy(update={"file": str(folder / benchmark.file)}) if benchmark.file else benchmark
    if "file" in fields:
        return _data(fields, folder, place)
    if fields.get("name") == TEXT_DOMAINS or "in" in fields:
        domains = checked(TextDomains, {**fields, **_sources(fields, place)}, place)
        return domains.model_copy(
            update={
                "inside": {label: _resolved(source, folder) for label, source in domains.inside.items()},
                "shifted": {label: _resolved(source, folder) for label, source in domains.shifted.items()},
            }
        )
    return checked(RegisteredSuite, fields, place)


def _data(
    fields: Mapping[str, Any], folder: Path, place: str
) -> FileSuite | HubSuite | FrozenSuite | LabSuite | ModalitySuite | ConceptSuite:
    """Items of the user's own: files, a data set, a suite written down, or the world of a model trained here."""
    if "norms" in fields or fields.get("name") == CONCEPTS:
        return checked(ConceptSuite, fields, place).resolved(folder)
    if "files" in fields or fields.get("name") == MODALITY:
        kinds = checked(ModalitySuite, fields, place)
        return kinds.model_copy(update={"files": tuple(str(folder / file) for file in kinds.files)})
    if "lab" in fields:
        world = checked(LabSuite, fields, place)
        return world.model_copy(update={"lab": str((folder / world.lab).resolve())})
    if "hub" in fields:
        local = folder / str(fields["hub"])
        return checked(HubSuite, {**fields, "hub": str(local)} if local.is_dir() else fields, place)
    if "frozen" in fields:
        frozen = checked(FrozenSuite, fields, place)
        return frozen.model_copy(update={"frozen": str(folder / frozen.frozen)})
    return _resolved(checked(FileSuite, fields, place), folder)


def _shift(fields: Mapping[str, Any], folder: Path, place: str) -> Shift:
    """A paired shift over a source, which needs no name of its own."""
    try:
        kind = SHIFTS[str(fields["shift"])]
    except UnknownNameError as error:
        raise InputError(f"{place}: {error}") from None
    given = fields.get("of")
    source = {"name": given} if isinstance(given, str) else mapping(given, f"{place}: of")
    found = suite_entry({"name": f"{fields.get('name')}_source", **source}, folder, f"{place}: of")
    if not isinstance(found, FileSuite | HubSuite | BenchmarkSuite):
        raise InputError(f"{place}: of should be a file, a data set of the hub or a benchmark, and is {found.name!r}")
    resolved = {**fields, "of": found}
    if fields.get("filler") is not None:
        resolved["filler"] = _resolved(_source(fields["filler"], f"{place}: filler"), folder)
    return checked(kind, resolved, place)


def _source(entry: object, place: str) -> Source:
    """A source; a bare path stands for one."""
    return checked(Source, {"file": entry} if isinstance(entry, str) else entry, place)


def _sources(fields: Mapping[str, Any], place: str) -> dict[str, dict[str, Source]]:
    """Domains by label; a bare path stands for a source."""
    found: dict[str, dict[str, Source]] = {}
    for key in ("in", "shifted"):
        if key in fields:
            entries = mapping(fields[key], f"{place}: {key}")
            found[key] = {label: _source(entry, f"{place}: {label}") for label, entry in entries.items()}
    return found


def _resolved(source: _S, folder: Path) -> _S:
    return source.model_copy(update={"file": str(folder / source.file)})
