"""Look at everything a sweep needs before anything is written.

Every suite generates its items, every model is loaded, every site resolved and some prompts encoded, so that a misspelt
name in the last line of a spec stops the sweep in its first minute. What a plan says about tokens is estimated from
those prompts.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from probes.capture.batches import prompts_at_once, tokens_at_once
from probes.capture.choices import with_choices
from probes.capture.collection import read_batch
from probes.capture.prompts import encode
from probes.controls.control_cells import cells_of
from probes.errors import InputError
from probes.models.checkpoints import model_files
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import Chat, PromptError, Template, chat_of, template_identity
from probes.records.cells import RAW, Block, Done, missing, state_name
from probes.records.read import Records
from probes.records.sessions import SPEC
from probes.records.store import committed, folders_of
from probes.suites.example import Item, Suite
from probes.suites.laboratory.world_facts import LabSuite
from probes.suites.question import LETTERS
from probes.suites.shifts.shift_suite import Shift
from probes.sweep.familiarity_setup import open_bank, refuse_changed_sources
from probes.sweep.interface import Options
from probes.sweep.item_store import Shelf, shelve
from probes.sweep.items import refuse_changed
from probes.sweep.plan import READING, Batch, RunIdentity, batches
from probes.sweep.spec import ModelEntry, SweepSpec, load_spec
from probes.sweep.suite_tools import tools_of
from probes.vocabulary.outcomes import CHOICE_OUTCOMES
from probes.vocabulary.positions import parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity import MetricSpec

PROBED: Final = 32  # prompts encoded to learn tokens per byte, half of them the longest


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One model x suite: all that a worker must know of it.

    Attributes:
        run_id: its name in every table.
        entry: the model as the spec names it.
        model: its short name, different from those of the sweep's other models.
        suite: name of the suite.
        sites: where to look.
    """

    run_id: str
    entry: ModelEntry
    model: str
    suite: str
    sites: tuple[Site, ...]

    @property
    def label(self) -> str:
        """How progress calls it."""
        return f"{self.model} x {self.suite}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunPlan:
    """One run, surveyed.

    Attributes:
        run: which.
        suite: its suite.
        items: all items, on disk.
        batches: what is left to do.
        tokens_per_byte: estimated from some prompts; NaN if nothing is left.
        facts: what the run's row remembers of model and settings.
        identity: what makes it this run.
        device: where the model was put.
        control_cells: the cells of its controls, in the order of work; none where no controls were asked for.
    """

    run: Run
    suite: Suite
    items: Shelf
    batches: list[Batch]
    tokens_per_byte: float
    facts: dict[str, Any]
    identity: RunIdentity
    device: str
    control_cells: tuple[str, ...] = ()

    def n_left(self) -> int:
        """Items that still go through the model."""
        return sum(len(batch.items) for batch in self.batches)

    def n_tokens(self) -> float:
        """Tokens that still go through the model, estimated; padding not counted."""
        most = self.facts["max_tokens"] or np.inf
        sizes = (self.items.sizes[batch.items] for batch in self.batches)
        return float(sum(np.minimum(size * self.tokens_per_byte, most).sum() for size in sizes))


class Survey(NamedTuple):
    """The planned runs; the model too if there is only one (others are loaded again when their turn comes)."""

    plans: tuple[RunPlan, ...]
    model: LoadedModel | None


def survey(spec: SweepSpec, directory: Path, options: Options) -> Survey:
    """Plan what is left of a sweep; nothing is written.

    Raises:
        InputError: if anything that the spec names cannot be used.
    """
    stored = Records(directory, committed(directory))
    _refuse_other_reading(stored)
    parse_positions(spec.positions)
    needy = [entry.name for entry in spec.suites if isinstance(entry, Shift) and entry.needs]
    if needy and len(spec.models) > 1:
        raise InputError(
            f"suite {needy[0]!r} is made with a model's tokenizer or answers, and this sweep has "
            f"{len(spec.models)} models; freeze the suite, or sweep one model at a time"
        )
    asked: list[tuple[Suite, Shelf]] = []
    plans: list[RunPlan] = []
    model: LoadedModel | None = None
    for entry, name in zip(spec.models, spec.model_names(), strict=True):
        model, own = open_model(entry, options.device), spec.for_model(entry)
        if not asked:
            asked = list(_asked(own, model))
            refuse_changed(stored, asked)
        cells = () if spec.familiarity is None else open_bank(own, model).cells
        plans += [
            _plan(own, entry, name, model, suite, items, stored, options, cells)
            for question, (suite, items) in zip(spec.suites, asked, strict=True)
            if not isinstance(question, LabSuite) or question.concerns(entry.name)
        ]
    planned = {plan.suite.name for plan in plans}
    strange = [entry for entry in spec.suites if isinstance(entry, LabSuite) and entry.name not in planned]
    if strange:
        raise InputError(
            f"suite {strange[0].name!r} asks about the world of {strange[0].lab}, and no model of this sweep was "
            "trained in it; name a model of that laboratory, or the laboratory of this model"
        )
    return Survey(tuple(plans), model if len(spec.models) == 1 else None)


def as_begun(spec: SweepSpec, directory: Path) -> SweepSpec:
    """The spec with the date that its chat templates are told: of the day on which the sweep began.

    Templates that write today's date would otherwise make other prompts of the items that are measured tomorrow.
    """
    begun = (folder / SPEC for folder in folders_of(directory))
    stored = next((load_spec(path) for path in begun if path.is_file()), None)
    asked = [] if stored is None else [stored.template, *(entry.template for entry in stored.models)]
    date = next((one.date for one in asked if isinstance(one, Chat) and one.date is not None), None)
    day = date or dt.datetime.now().astimezone().date()

    def dated(template: Template | None) -> Template | None:
        chat = None if template is None else chat_of(template)
        return template if chat is None or chat.date is not None else chat.model_copy(update={"date": day})

    models = tuple(entry.model_copy(update={"template": dated(entry.template)}) for entry in spec.models)
    return spec.model_copy(update={"template": dated(spec.template), "models": models})


def _refuse_other_reading(stored: Records) -> None:
    """Refuse to go on with a sweep whose words meant something else."""
    for run_id in stored.runs()["run_id"]:
        if stored.facts(run_id).get("reading", 1) != READING:
            raise InputError(
                f"{stored.directory} was measured by an earlier version, in which `mean` counted the first token and "
                "chat templates as text: it can be read and reported, not gone on with; sweep into a new directory"
            )


def open_model(entry: ModelEntry, device: str) -> LoadedModel:
    """Load a model as the spec names it."""
    return load_model(entry.name, device=device, dtype=entry.dtype, revision=entry.revision)


def read_prompt(spec: SweepSpec, model: LoadedModel, item: Item) -> Prompt:
    """Encode one item under the spec's policy.

    Raises:
        PromptError: if it is no item to ask, or this model cannot read it.
    """
    example = item.example
    if example.fault or example.repeats:
        raise PromptError(example.fault or example.repeats)
    prompt = encode(model, example.text, target=example.target, before=example.before, **spec.reading())
    if example.right is None or not set(spec.outcomes) & set(CHOICE_OUTCOMES):
        return prompt
    return with_choices(
        model,
        prompt,
        example.text,
        example.choices,
        example.right,
        whole=example.whole,
        lettered=not example.whole and example.target == LETTERS[example.right],
        before=example.before,
        **spec.reading(),
    )


def _asked(spec: SweepSpec, model: LoadedModel) -> Iterator[tuple[Suite, Shelf]]:
    for entry in spec.suites:
        suite = entry.suite(tools_of(spec, model)) if isinstance(entry, Shift) and entry.needs else entry.suite()
        yield suite, shelve(suite, suite.generator(spec.seed), entry.limit or spec.limit)


def _plan(
    spec: SweepSpec,
    entry: ModelEntry,
    name: str,
    model: LoadedModel,
    suite: Suite,
    whole: Shelf,
    stored: Records,
    options: Options,
    familiarity: tuple[str, ...],
) -> RunPlan:
    items = whole if options.shard is None else whole.shard(*options.shard)
    sites = resolve_sites(model, spec.sites)
    identity = RunIdentity(
        fingerprint=model.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        attention=model.attention,
        template=template_identity(model.tokenizer, spec.template),
        bos=spec.bos,
        max_tokens=spec.max_tokens,
        reading=json.dumps([READING, spec.answer_prefix, spec.special_tokens]),
        suite=suite.name,
        suite_version=suite.version,
    )
    wanted = Block(
        sites=tuple(map(str, sites)),
        bases=(RAW,),
        positions=spec.positions,
        metrics=spec.metrics,
        outcomes=spec.outcomes,
        familiarity=familiarity,
        states=_kept(spec, model, sites),
    )
    run = Run(run_id=identity.run_id(), entry=entry, model=name, suite=suite.name, sites=sites)
    refuse_changed_sources(familiarity, stored.done(run.run_id))
    left = missing(wanted, items.example_ids, _settled(stored, run.run_id, spec, options))
    lengths = _probed(spec, model, items, np.concatenate(list(left.values()))) if left else _Lengths(np.nan, None)
    batch_size = options.batch_size or _planned_batch_size(stored, run.run_id)
    if batch_size is None:
        batch_size = _auto_batch_size(spec, model, sites, lengths.longest, sum(map(len, left.values())))
    return RunPlan(
        run=run,
        suite=suite,
        items=items,
        batches=batches(items, left, batch_size),
        tokens_per_byte=lengths.per_byte,
        facts=_facts(spec, entry, model, suite, whole, sites, batch_size) | _so_far(stored, run.run_id),
        identity=identity,
        device=options.device,
        control_cells=cells_of(model, sites, spec.control_names()),
    )


def _kept(spec: SweepSpec, model: LoadedModel, sites: Sequence[Site]) -> tuple[str, ...]:
    """The vectors that a sweep keeps, as a block names them."""
    asked = resolve_sites(model, spec.states)
    beyond = [str(site) for site in asked if site not in sites]
    if beyond:
        raise InputError(f"states: {beyond[0]} is not among the sites of this sweep; add it to `sites`")
    singles = [selector.name for selector in parse_positions(spec.positions) if selector.is_single]
    if asked and not singles:
        raise InputError(
            "states are kept at positions that give one vector per item, and positions has only "
            f"{', '.join(spec.positions)}; add last or mean"
        )
    return tuple(state_name(str(site), position) for position in singles for site in asked)


def _settled(stored: Records, run_id: str, spec: SweepSpec, options: Options) -> list[Done]:
    """What is recorded of a run, as far as it settles anything under this spec."""
    return [
        entry
        for entry in stored.done(run_id, with_failures=not options.retry_failed)
        if entry.min_tokens is None or (spec.min_tokens or 0) >= entry.min_tokens
    ]


class _Lengths(NamedTuple):
    per_byte: float
    longest: Prompt | None


def _probed(spec: SweepSpec, model: LoadedModel, items: Shelf, left: np.ndarray) -> _Lengths:
    """Encode the longest items and some of all lengths."""
    order = left[np.argsort(-items.sizes[left], kind="stable")]
    spread = order[np.linspace(0, len(order) - 1, min(PROBED // 2, len(order))).astype(int)]
    n_tokens = n_bytes = 0
    longest: Prompt | None = None
    for index in dict.fromkeys([*order[: PROBED // 2].tolist(), *spread.tolist()]):
        try:
            prompt = read_prompt(spec, model, items[index])
        except PromptError:
            continue  # a failure of that item, recorded when its batch runs
        length = len(prompt.ids)
        longest = prompt if longest is None or length > len(longest.ids) else longest
        n_tokens, n_bytes = n_tokens + length, n_bytes + int(items.sizes[index])
    return _Lengths(n_tokens / n_bytes if n_bytes else np.nan, longest)


def _planned_batch_size(stored: Records, run_id: str) -> int | None:
    """What ``auto`` came to when the run began, so that it is resumed as it was planned."""
    return stored.facts(run_id)["batch_size"] if run_id in set(stored.runs()["run_id"]) else None


def _so_far(stored: Records, run_id: str) -> dict[str, Any]:
    """What the run's row remembers of earlier calls for its controls: how long measuring took, what was done."""
    facts = stored.facts(run_id) if run_id in set(stored.runs()["run_id"]) else {}
    return {"measure_seconds": 0.0} | {name: facts[name] for name in ("measure_seconds", "controls") if name in facts}


def _auto_batch_size(
    spec: SweepSpec, model: LoadedModel, sites: Sequence[Site], longest: Prompt | None, n_items: int
) -> int:
    """Items per batch: as many of the longest as a pass takes, seen by trial on an accelerator."""
    if longest is None:
        return prompts_at_once(1)

    metrics = [MetricSpec.parse(name) for name in spec.metrics]
    read = partial(read_batch, model, sites=sites, positions=spec.positions, metrics=metrics, outcomes=spec.outcomes)

    length = len(longest.ids)
    tokens = tokens_at_once(length, n_items * length, model.device, lambda count: read([longest] * count))
    return prompts_at_once(length, tokens)


def _facts(
    spec: SweepSpec,
    entry: ModelEntry,
    model: LoadedModel,
    suite: Suite,
    items: Shelf,
    sites: Sequence[Site],
    batch_size: int,
) -> dict[str, Any]:
    return {
        "model": entry.name,
        "fingerprint": model.fingerprint,
        "model_files": model_files(entry.name, entry.revision),
        "weights": model.weights,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "widths": {site.name: model.width(site) for site in sites},
        "context_length": model.context_length,
        "attention": model.attention,
        "bos": spec.bos,
        "template": "none" if spec.template == "none" else "chat",
        "template_arguments": None if isinstance(spec.template, str) else spec.template.model_dump(mode="json"),
        "answer_prefix": spec.answer_prefix,
        "special_tokens": spec.special_tokens,
        "reading": READING,
        "max_tokens": spec.max_tokens,
        "min_tokens": spec.min_tokens,
        "batch_size": batch_size,
        "axis": asdict(suite.axis),
        "suite_source": suite.source,
        "n_items": len(items),
        "items_sha256": items.fingerprint(),
        "metrics": list(spec.metrics),
    }
