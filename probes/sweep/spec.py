"""Spec of a sweep: models x suites x sites x positions x metrics, read from YAML into validated types.

The file is read with a safe loader; unknown keys are refused with the nearest known one. Paths in a spec are relative
to the spec's own folder. The resolved spec (absolute paths, ``default`` written out as metrics with versions) is what a
sweep directory stores and what its numbers can be reproduced from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from probes.errors import InputError
from probes.familiarity.entry import FamiliarityEntry, resolved
from probes.lab import shipped_path
from probes.models.templates import Template
from probes.suites.sources.fields import FieldMap
from probes.sweep.specification import yaml12
from probes.sweep.specification.suite_entries import SuiteEntry, suite_entry
from probes.sweep.specification.validation import checked, mapping, nearest, refuse_unknown, sequence, validate
from probes.vocabulary.names import CONTROLS, NULLS, Control, Extra, Mechanism, Null
from probes.vocabulary.naming import labels
from probes.vocabulary.outcomes import DEFAULT_OUTCOMES, NEXT_TOKENS, OUTCOMES
from sparsity import MetricSpec, parse_metrics
from sparsity.population import POPULATION
from sparsity.registry import UnknownNameError

WHOLE_PROMPT = frozenset({"mean", "all"})  # positions whose output uncertainty is that of the whole prompt
CONTROLLED = frozenset({"last", "mean"})  # positions whose vectors the controls read

Dtype = Literal["float32", "bfloat16", "float16", "int8"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]


class Reading(TypedDict):
    """Settings that turn texts into prompts."""

    max_tokens: int | None
    bos: Literal["auto", "add", "none"]
    template: Template
    answer_prefix: str
    special_tokens: Literal["control", "text"]


class ModelEntry(BaseModel):
    """A model by local path or hub name.

    ``template`` goes before that of the sweep, ``device_map`` before ``--device``. A device map is ``auto``, or a place
    for every part: ``{model.embed_tokens: cpu, model.layers.0: disk, ...}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    revision: str | None = None
    dtype: Dtype | None = None
    template: Template | None = None
    device_map: Literal["auto"] | dict[str, str | int] | None = None


class GenerateEntry(BaseModel):
    """Tokens that the model writes after some items; see :class:`probes.vocabulary.names.Generate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(ge=1)
    per_group: int = Field(default=16, ge=1)
    seed: int | None = Field(default=None, ge=0)


class SweepSpec(BaseModel):
    """Models, suites, sites, positions and metrics of a sweep, and how texts are read.

    Attributes:
        models: models, by folder or hub name; or ``{name: ..., revision: ..., dtype: ..., template: ...,
            device_map: ...}``.
        suites: suites, by name; or files, data sets, benchmarks and paired shifts, each with its own keys.
        sites: sites to measure: a kind such as ``resid_post`` (all its layers) or one layer, ``resid_post.3``.
        positions: tokens to measure: ``last``, ``mean``, ``typical``, ``prompt``, ``all``, ``answer``, a slice such as
            ``5:10``, or an expression such as ``/[0-9]+/``.
        metrics: metrics with their arguments; ``default`` stands for eight common ones.
        outcomes: quantities read from the output of the same pass; by default ``nll`` and ``next_token_entropy``, and
            with positions ``mean`` or ``all`` also ``mean_next_token_entropy``.
        familiarity: measures of how familiar each text is, and what it is compared with.
        controls: measurements that tell mechanisms apart, at positions ``last`` and ``mean``: ``default`` (all),
            ``none``, or a list of ``outliers``, ``bases``, ``populations``, ``substitution``, ``readout``,
            ``pinning``, ``routing``.
        populations: measures of each group's vectors as a set, at positions ``last`` and ``mean``: ``default`` (all
            of them, ``sparsity list populations``), ``none``, or a list; unset, ``controls`` decides.
        nulls: what chance gives beside the controls: ``rotations``, ``shuffle``, ``untrained`` (a model of the same
            configuration before training).
        density: errors of tail truncation between 0 and 1, such as ``[0.1, 0.2]``: the share of an MLP's neurons that
            can be cut before its output is off by more, at sites ``mlp_post``, for the items of the controls.
        generate: let the model write after some items of the controls' sample and measure every token it writes:
            ``{tokens: 64}``, with ``per_group`` (16 items) and ``seed`` (draws tokens; unset, the most likely one).
        controls_budget: most time for the controls, as a multiple of the time of measuring (at least a minute is
            given), or ``unlimited``. Controls left out for lack of time are named in the run's row.
        states: sites, among ``sites``, whose raw vectors are kept at every position of the sweep (`Records.states`):
            at ``all`` that of every token, at a slice and other positions over several tokens their mean.
        max_tokens: longer texts are cut to this many tokens, BOS included; without it, a text that is too long for
            the model is a recorded failure.
        min_tokens: shorter items are left out and counted per level; for length-matched comparisons.
        limit: most items per level and split, for every suite without a limit of its own.
        bos: begin-of-sequence token: ``auto`` does what the tokenizer does; ``add`` and ``none`` force it.
        template: ``none``, or ``chat`` for the tokenizer's chat template with the text as the user's turn;
            ``{chat: {...}, system: ..., date: ...}`` gives its arguments. Another template makes another run.
        answer_prefix: text between prompt and answer; ``auto`` is a space where running text has one.
        special_tokens: special tokens spelled out in a text are read as ``control`` tokens (and counted), or as
            plain ``text``.
        skip_first: so many tokens at the beginning of each sequence, attention sinks say, are left out of positions
            ``mean``, ``typical``, ``all``, ``prompt`` and expressions. Another number makes another run.
        no_text: keep no text: prompts, targets and token ids do not go to the tables, hashes of them do.
        seed: seed of everything random in suites.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    suites: Annotated[tuple[SuiteEntry, ...], Field(min_length=1)]
    sites: Names = ("resid_post", "final_norm")
    positions: Names = ("last",)
    metrics: Names = ("default",)
    outcomes: Names = DEFAULT_OUTCOMES
    familiarity: FamiliarityEntry | None = None
    controls: Literal["default", "none"] | tuple[Mechanism, ...] = "default"
    populations: Literal["default", "none"] | tuple[str, ...] | None = None
    nulls: tuple[Null, ...] = ()
    density: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    generate: GenerateEntry | None = None
    controls_budget: Annotated[float, Field(ge=0)] | Literal["unlimited"] = 1.0
    states: Names = ()
    max_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    bos: Literal["auto", "add", "none"] = "auto"
    template: Template = "none"
    answer_prefix: str = "auto"
    special_tokens: Literal["control", "text"] = "control"
    skip_first: int = Field(default=0, ge=0)
    no_text: bool = False
    seed: int = Field(default=0, ge=0)

    def for_model(self, entry: ModelEntry) -> SweepSpec:
        """The spec as it is for one of its models."""
        return self if entry.template is None else self.model_copy(update={"template": entry.template})

    def model_names(self) -> tuple[str, ...]:
        """A short name for each model, different for each; a model named twice goes by what else is said of it."""
        return labels(entry.model_dump(mode="json", exclude_none=True) for entry in self.models)

    def parsed_metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics as the core knows them."""
        return parse_metrics(self.metrics)

    def reading(self) -> Reading:
        """Settings that turn texts into prompts, as :func:`probes.capture.prompts.encode` takes them."""
        return {
            "max_tokens": self.max_tokens,
            "bos": self.bos,
            "template": self.template,
            "answer_prefix": self.answer_prefix,
            "special_tokens": self.special_tokens,
        }

    def control_names(self) -> tuple[Control, ...]:
        """The controls and nulls asked for, at the positions that have any; all controls by default."""
        if not CONTROLLED.intersection(self.positions):
            return ()
        asked = set(CONTROLS if self.controls == "default" else () if self.controls == "none" else self.controls)
        if self.populations is not None:
            asked = asked - {"populations"} if self.populations == "none" else asked | {"populations"}
        asked_for: dict[Extra, object] = {"density": self.density, "generation": self.generate}
        extra: list[Control] = [name for name, value in asked_for.items() if value]
        return (*(name for name in (*CONTROLS, *NULLS) if name in asked or name in self.nulls), *extra)

    def population_names(self) -> tuple[str, ...] | None:
        """The measures of sets asked for by name; None for all."""
        return self.populations if isinstance(self.populations, tuple) else None

    def to_yaml(self) -> str:
        """The spec as a file that gives the same sweep."""
        return yaml12.dump(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def load_spec(path: Path, changes: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read and resolve a spec file.

    Args:
        path: the YAML file.
        changes: what the command line says instead, key by key; a ``limit`` goes before those of single suites and a
            ``dtype`` before those of single models.

    Raises:
        InputError: if it cannot be read, has an unknown key, or a value of the wrong kind.
    """
    content = {**yaml12.read(path), **(changes or {})}
    dtype = content.pop("dtype", None)
    spec = parse_spec(content, folder=path.resolve().parent, origin=str(path))
    changed: dict[str, Any] = {}
    if changes and "limit" in changes:
        changed["suites"] = tuple(suite.model_copy(update={"limit": changes["limit"]}) for suite in spec.suites)
    if dtype is not None:
        entries = ({**entry.model_dump(), "dtype": dtype} for entry in spec.models)
        changed["models"] = tuple(checked(ModelEntry, entry, f"{path}: models") for entry in entries)
    return spec.model_copy(update=changed)


def parse_spec(raw: object, *, folder: Path, origin: str = "spec") -> SweepSpec:
    """Validate a spec and resolve it: absolute paths, metrics written out with versions.

    Args:
        raw: the mapping as YAML gives it.
        folder: what relative paths are relative to.
        origin: how messages call the spec.

    Raises:
        InputError: on the first thing wrong with it.
    """
    fields = mapping(raw, origin)
    refuse_unknown(fields, SweepSpec, origin)
    entries = {
        **fields,
        "models": [_model(entry, folder) for entry in sequence(fields.get("models"), f"{origin}: models")],
        "suites": [suite_entry(entry, folder, origin) for entry in sequence(fields.get("suites"), f"{origin}: suites")],
    }
    if fields.get("familiarity"):
        entries["familiarity"] = _familiarity(fields["familiarity"], folder, f"{origin}: familiarity")
    spec = validate(SweepSpec, entries, origin)
    for entry in spec.suites:
        if isinstance(entry, FieldMap):
            _refuse_undirected(entry, origin)
    if "outcomes" not in fields and WHOLE_PROMPT.intersection(spec.positions):
        spec = spec.model_copy(update={"outcomes": (*DEFAULT_OUTCOMES, "mean_next_token_entropy")})
    unknown = [name for name in spec.outcomes if name not in OUTCOMES]
    if unknown:
        raise InputError(f"{origin}: unknown outcome {unknown[0]!r}{nearest(unknown[0], tuple(OUTCOMES))}")
    if spec.no_text and NEXT_TOKENS in spec.outcomes:
        raise InputError(f"{origin}: outcome {NEXT_TOKENS} keeps tokens, which no_text forbids; leave out one of them")
    _refuse_controls(spec, fields, origin)
    names = [entry.name for entry in spec.suites]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise InputError(f"{origin}: two suites are called {doubled!r}; give each a name of its own")
    try:
        metrics = tuple(metric.versioned for metric in spec.parsed_metrics())
    except (UnknownNameError, ValueError) as error:
        raise InputError(f"{origin}: metrics: {error}") from None
    return spec.model_copy(update={"metrics": metrics})


def _refuse_controls(spec: SweepSpec, fields: Mapping[str, Any], origin: str) -> None:
    """Refuse measures of sets that there are not, and keys about vectors that this sweep will not have."""
    strange = [name for name in spec.population_names() or () if name not in POPULATION]
    if strange:
        raise InputError(f"{origin}: unknown population measure {strange[0]!r}{nearest(strange[0], tuple(POPULATION))}")
    if spec.density and not any("mlp_post" in site.split(".") for site in spec.sites):
        raise InputError(f"{origin}: density is about the neurons of MLPs; add mlp_post to sites")
    set_keys = [
        key for key in ("populations", "nulls", "density", "generate") if fields.get(key) not in (None, "none", [])
    ]
    if set_keys and not CONTROLLED.intersection(spec.positions):
        raise InputError(f"{origin}: {set_keys[0]} are of positions last and mean; add one of them to positions")


def _refuse_undirected(suite: FieldMap, origin: str) -> None:
    """Refuse a suite of which nobody says which end of its axis is harder."""
    try:
        suite.ruler()
    except InputError as error:
        raise InputError(f"{origin}: suite {suite.name!r}: {error}") from None


def _familiarity(entry: object, folder: Path, place: str) -> FamiliarityEntry:
    """Measures alone, or measures and what they are compared with."""
    measures: dict[str, object] = {"measures": entry}
    fields = measures if isinstance(entry, str | list) else entry
    return resolved(checked(FamiliarityEntry, fields, place), folder, place)


def _model(entry: object, folder: Path) -> dict[str, Any]:
    """A name that is a folder beside the spec means that folder, a short name the shipped model."""
    fields: dict[str, Any] = {"name": entry} if isinstance(entry, str) else {**mapping(entry, "an entry of models")}
    name = fields.get("name")
    if isinstance(name, str) and (folder / name).is_dir():
        fields["name"] = str((folder / name).resolve())
    elif isinstance(name, str) and (shipped := shipped_path(name)) is not None:
        fields["name"] = str(shipped)
    return fields
