"""Look at everything a sweep needs before anything is written.

Every suite generates its items, every model is loaded, every site resolved and every prompt encoded once, so that a
misspelt name in the last line of a spec stops the sweep in its first minute, and so that the plan is known in tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from probes.capture.batches import PROMPTS_AT_ONCE, TOKENS_AT_ONCE
from probes.capture.models import LoadedModel, load_model
from probes.capture.positions import parse_positions
from probes.capture.prompts import Prompt, PromptError, encode
from probes.capture.sites import Site, resolve_sites
from probes.errors import InputError
from probes.records.cells import Block, Done
from probes.records.read import Records
from probes.records.store import read_commits
from probes.suites.example import Item, Suite
from probes.suites.shifts import Shift
from probes.sweep.interface import Options
from probes.sweep.items import refuse_changed
from probes.sweep.plan import Batch, RunIdentity, batches, limited
from probes.sweep.spec import ModelEntry, SweepSpec
from probes.sweep.tools import tools_of

RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One model x suite, surveyed.

    Attributes:
        entry: the model as the spec names it.
        suite: the suite.
        sites: where to look.
        wanted: what every item should have.
        items: all items by id.
        lengths: tokens of each item that can be measured.
        unreadable: why the others cannot be encoded.
        too_short: items left out because of ``min_tokens``, and how long they are.
        batches: what is left to do.
        facts: what the run's row remembers of model and settings.
        identity: what makes it this run.
        device: where the model was put.
    """

    entry: ModelEntry
    suite: Suite
    sites: tuple[Site, ...]
    wanted: Block
    items: dict[str, Item]
    lengths: dict[str, int]
    unreadable: dict[str, str]
    too_short: dict[str, int]
    batches: list[Batch]
    facts: dict[str, Any]
    identity: RunIdentity
    device: str

    @property
    def run_id(self) -> str:
        """The run's name in every table."""
        return self.identity.run_id()

    @property
    def label(self) -> str:
        """How progress calls it."""
        return f"{Path(self.entry.name).name} x {self.suite.name}"

    def n_left(self) -> int:
        """Items that still go through the model."""
        return sum(len(batch.example_ids) for batch in self.batches)

    def n_tokens(self) -> int:
        """Tokens that still go through the model, padding not counted."""
        return sum(self.lengths[example_id] for batch in self.batches for example_id in batch.example_ids)


class Survey(NamedTuple):
    """The planned runs; the model too if there is only one (others are loaded again when their turn comes)."""

    plans: tuple[RunPlan, ...]
    model: LoadedModel | None


def survey(spec: SweepSpec, directory: Path, options: Options) -> Survey:
    """Plan what is left of a sweep; nothing is written.

    Raises:
        InputError: if anything that the spec names cannot be used.
    """
    stored = Records(directory, read_commits(directory))
    parse_positions(spec.positions)
    needy = [entry.name for entry in spec.suites if isinstance(entry, Shift) and entry.needs]
    if needy and len(spec.models) > 1:
        raise InputError(
            f"suite {needy[0]!r} is made with a model's tokenizer or answers, and this sweep has "
            f"{len(spec.models)} models; freeze the suite, or sweep one model at a time"
        )
    asked: list[tuple[Suite, list[Item]]] = []
    plans: list[RunPlan] = []
    model: LoadedModel | None = None
    for entry in spec.models:
        model = open_model(entry, options.device)
        if not asked:
            asked = list(_asked(spec, model))
            refuse_changed(stored, asked)
        plans += [_plan(spec, entry, model, suite, items, stored, options) for suite, items in asked]
    return Survey(tuple(plans), model if len(spec.models) == 1 else None)


def open_model(entry: ModelEntry, device: str) -> LoadedModel:
    """Load a model as the spec names it."""
    return load_model(entry.name, device=device, dtype=entry.dtype, revision=entry.revision)


def read_prompt(spec: SweepSpec, model: LoadedModel, item: Item) -> Prompt:
    """Encode one item under the spec's policy.

    Raises:
        PromptError: if this model cannot read it.
    """
    example = item.example
    return encode(model, example.text, target=example.target, max_tokens=spec.max_tokens, bos=spec.bos)


def _asked(spec: SweepSpec, model: LoadedModel) -> Iterator[tuple[Suite, list[Item]]]:
    for number, entry in enumerate(spec.suites):
        suite = entry.suite(tools_of(spec, model)) if isinstance(entry, Shift) and entry.needs else entry.suite()
        items = suite.items(np.random.default_rng([spec.seed, number]))
        yield suite, limited(items, entry.limit or spec.limit)


def _plan(
    spec: SweepSpec,
    entry: ModelEntry,
    model: LoadedModel,
    suite: Suite,
    items: Sequence[Item],
    stored: Records,
    options: Options,
) -> RunPlan:
    sites = resolve_sites(model, spec.sites)
    identity = RunIdentity(
        fingerprint=model.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        attention=model.attention,
        template="none",
        bos=spec.bos,
        max_tokens=spec.max_tokens,
        suite=suite.name,
        suite_version=suite.version,
    )
    wanted = Block(
        sites=tuple(map(str, sites)),
        bases=(RAW,),
        positions=spec.positions,
        metrics=spec.metrics,
        outcomes=spec.outcomes,
    )
    done = stored.done(identity.run_id(), with_failures=not options.retry_failed)
    lengths, unreadable, too_short = _encoded(spec, model, items, done)
    batch_size = options.batch_size or _auto_batch_size(lengths.values())
    return RunPlan(
        entry=entry,
        suite=suite,
        sites=sites,
        wanted=wanted,
        items={item.example_id: item for item in items},
        lengths=lengths,
        unreadable=unreadable,
        too_short=too_short,
        batches=batches(wanted, lengths, done, batch_size),
        facts=_facts(spec, entry, model, suite, sites, batch_size),
        identity=identity,
        device=options.device,
    )


def _encoded(
    spec: SweepSpec, model: LoadedModel, items: Sequence[Item], done: Sequence[Done]
) -> tuple[dict[str, int], dict[str, str], dict[str, int]]:
    """Lengths of the items that can be measured, and why the others cannot."""
    failed = {example_id for settled in done if settled.failed for example_id in settled.example_ids}
    lengths: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    too_short: dict[str, int] = {}
    for item in items:
        if item.example_id in failed:
            continue
        try:
            prompt = read_prompt(spec, model, item)
        except PromptError as error:
            unreadable[item.example_id] = str(error)
            continue
        if spec.min_tokens is not None and prompt.end < spec.min_tokens:
            too_short[item.example_id] = prompt.end
        else:
            lengths[item.example_id] = len(prompt.ids)
    return lengths, unreadable, too_short


def _auto_batch_size(lengths: Iterable[int]) -> int:
    longest = max(lengths, default=1)
    return max(1, min(PROMPTS_AT_ONCE, TOKENS_AT_ONCE // longest))


def _facts(
    spec: SweepSpec, entry: ModelEntry, model: LoadedModel, suite: Suite, sites: Sequence[Site], batch_size: int
) -> dict[str, Any]:
    return {
        "model": entry.name,
        "fingerprint": model.fingerprint,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "widths": {site.name: model.width(site) for site in sites},
        "context_length": model.context_length,
        "attention": model.attention,
        "bos": spec.bos,
        "max_tokens": spec.max_tokens,
        "min_tokens": spec.min_tokens,
        "batch_size": batch_size,
        "axis": asdict(suite.axis),
        "suite_source": suite.source,
        "metrics": list(spec.metrics),
    }
