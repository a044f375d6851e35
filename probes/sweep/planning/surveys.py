"""Look at everything a sweep needs before anything is written.

Every suite generates its items, every model is loaded, every site resolved and some prompts encoded, so that a misspelt
name in the last line of a spec stops the sweep in its first minute. What a plan says about tokens is estimated from
those prompts.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from probes.capture.batches import prompts_at_once, tokens_at_once
from probes.capture.collection import read_batch
from probes.controls.control_cells import cells_of
from probes.controls.reservoir import reservoir
from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.models.templates import Chat, PromptError, Template, chat_of, template_identity
from probes.records.arrow import column_of, found
from probes.records.cells import Block, Done, missing, state_name
from probes.records.read import Records
from probes.records.sessions import SPEC
from probes.records.store import committed, folders_of
from probes.records.versions import in_words, parted
from probes.suites.example import Suite
from probes.suites.laboratory.world_facts import LabSuite
from probes.suites.shifts.shift_suite import Shift
from probes.sweep.familiarity_setup import open_reader, refuse_changed_sources
from probes.sweep.inputs import open_model, read_prompt
from probes.sweep.interface import Options
from probes.sweep.item_store import ItemStore, store_items
from probes.sweep.items import refuse_changed
from probes.sweep.planning.fact_writer import facts_of
from probes.sweep.planning.plan import READING, RunIdentity, batches
from probes.sweep.planning.run_plan import Run, RunPlan, Survey
from probes.sweep.spec import ModelEntry, SweepSpec, load_spec
from probes.sweep.suite_tools import tools_of
from probes.vocabulary.names import RAW
from probes.vocabulary.positions import parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity import MetricSpec

PROBED: Final = 32  # prompts encoded to learn tokens per byte, half of them the longest


def survey(spec: SweepSpec, directory: Path, options: Options) -> Survey:
    """Plan what is left of a sweep; nothing is written.

    Raises:
        InputError: if anything that the spec names cannot be used.
    """
    stored = Records(directory, committed(directory))
    _refuse_other_reading(stored)
    _say_raised(stored, spec)
    parse_positions(spec.positions)
    needy = [entry.name for entry in spec.suites if isinstance(entry, Shift) and entry.needs]
    if needy and len(spec.models) > 1:
        raise InputError(
            f"suite {needy[0]!r} is made with a model's tokenizer or answers, and this sweep has "
            f"{len(spec.models)} models; freeze the suite, or sweep one model at a time"
        )
    asked: list[tuple[Suite, ItemStore]] = []
    plans: list[RunPlan] = []
    model: LoadedModel | None = None
    for entry, name in zip(spec.models, spec.model_names(), strict=True):
        model, own = open_model(entry, options.device), spec.for_model(entry)
        if not asked:
            asked = list(_asked(own, model))
            refuse_changed(stored, asked, no_text=spec.no_text)
        cells = () if spec.familiarity is None else open_reader(own, model).cells
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
    # metrics may have been raised to another version since
    stored = next((load_spec(path, {"metrics": "default"}) for path in begun if path.is_file()), None)
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
        if stored.facts(run_id).reading != READING:
            raise InputError(
                f"{stored.directory} was measured by an earlier version, in which `mean` counted the first token and "
                "chat templates as text: it can be read and reported, not gone on with; sweep into a new directory"
            )


def _say_raised(stored: Records, spec: SweepSpec) -> None:
    """Warn that metrics are measured in another version than before, beside the old one."""
    for name, version in map(parted, spec.metrics):
        there = stored.versions.get(name, frozenset({version}))
        if version not in there:
            warnings.warn(
                f"{stored.directory} holds {name} in version {in_words(there)}: it is measured again in version "
                f"{version}, another measure; rows of both stay apart (metric={name + '@' + version!r})",
                stacklevel=3,
            )


def _asked(spec: SweepSpec, model: LoadedModel) -> Iterator[tuple[Suite, ItemStore]]:
    for entry in spec.suites:
        suite = entry.suite(tools_of(spec, model)) if isinstance(entry, Shift) and entry.needs else entry.suite()
        limit = entry.limit or spec.limit
        yield suite, store_items(suite, suite.generator(spec.seed), limit, no_text=spec.no_text)


def _plan(
    spec: SweepSpec,
    entry: ModelEntry,
    name: str,
    model: LoadedModel,
    suite: Suite,
    whole: ItemStore,
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
        reading=_reading(spec),
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
    earlier = stored.facts(run.run_id) if run.run_id in set(stored.runs()["run_id"]) else None
    left = missing(wanted, items.example_ids, _settled(stored, run.run_id, spec, options))
    lengths = _probed(spec, model, items, np.concatenate(list(left.values()))) if left else _Lengths(np.nan, None)
    batch_size = options.batch_size or (earlier.batch_size if earlier else None)  # as planned when the run began
    if batch_size is None:
        batch_size = _auto_batch_size(spec, model, sites, lengths.longest, sum(map(len, left.values())))
    cells = cells_of(model, sites, spec.control_names())
    members = reservoir(suite.name, items, spec.seed) if cells and options.shard is None else ()
    apart = found(column_of(one.example_id for one in members), items.example_ids)
    return RunPlan(
        run=run,
        suite=suite,
        items=items,
        batches=batches(items, left, batch_size, apart),
        tokens_per_byte=lengths.per_byte,
        facts=facts_of(spec, entry, model, suite, whole, sites, batch_size, earlier),
        identity=identity,
        device=options.device,
        control_cells=cells,
        members=members,
    )


def _reading(spec: SweepSpec) -> str:
    """Version and settings of reading texts, for the identity of a run; defaults say nothing, so older runs go on."""
    skipped = [spec.skip_first] if spec.skip_first else []
    return json.dumps([READING, spec.answer_prefix, spec.special_tokens, *skipped])


def _kept(spec: SweepSpec, model: LoadedModel, sites: Sequence[Site]) -> tuple[str, ...]:
    """The vectors that a sweep keeps, as a block names them."""
    asked = resolve_sites(model, spec.states)
    beyond = [str(site) for site in asked if site not in sites]
    if beyond:
        raise InputError(f"states: {beyond[0]} is not among the sites of this sweep; add it to `sites`")
    positions = [selector.name for selector in parse_positions(spec.positions)]
    return tuple(state_name(str(site), position) for position in positions for site in asked)


def _settled(stored: Records, run_id: str, spec: SweepSpec, options: Options) -> list[Done]:
    """Recorded cells of a run, as far as they settle anything under this spec."""
    return [
        entry
        for entry in stored.done(run_id, with_failures=not options.retry_failed)
        if entry.min_tokens is None or (spec.min_tokens or 0) >= entry.min_tokens
    ]


class _Lengths(NamedTuple):
    per_byte: float
    longest: Prompt | None


def _probed(spec: SweepSpec, model: LoadedModel, items: ItemStore, left: np.ndarray) -> _Lengths:
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


def _auto_batch_size(
    spec: SweepSpec, model: LoadedModel, sites: Sequence[Site], longest: Prompt | None, n_items: int
) -> int:
    """Items per batch: as many of the longest as a pass takes, seen by trial on an accelerator."""
    if longest is None:
        return prompts_at_once(1)
    if spec.states and "all" in spec.positions:  # every token's states wait in memory until they are written
        return prompts_at_once(len(longest.ids))

    metrics = [MetricSpec.parse(name) for name in spec.metrics]
    read = partial(read_batch, model, sites=sites, positions=spec.positions, metrics=metrics, outcomes=spec.outcomes)

    length = len(longest.ids)
    tokens = tokens_at_once(length, n_items * length, model.device, lambda count: read([longest] * count))
    return prompts_at_once(length, tokens)
