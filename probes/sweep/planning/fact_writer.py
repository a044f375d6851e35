"""Facts of a run for its row: model and settings, and what earlier calls of the sweep recorded of it."""

from __future__ import annotations

from collections.abc import Sequence

from probes.models.checkpoints import model_files
from probes.models.loading import LoadedModel
from probes.suites.example import Suite
from probes.sweep.item_store import ItemStore
from probes.sweep.planning.plan import READING
from probes.sweep.spec import ModelEntry, SweepSpec
from probes.vocabulary.run_facts import RunFacts
from probes.vocabulary.sites import Site


def facts_of(
    spec: SweepSpec,
    entry: ModelEntry,
    model: LoadedModel,
    suite: Suite,
    items: ItemStore,
    sites: Sequence[Site],
    batch_size: int,
    earlier: RunFacts | None,
) -> RunFacts:
    """Facts of one run; how long measuring took so far and what its controls did are those of ``earlier`` calls."""
    return RunFacts(
        model=entry.name,
        fingerprint=model.fingerprint,
        model_files=model_files(entry.name, entry.revision),
        weights=model.weights,
        n_layers=model.n_layers,
        d_model=model.d_model,
        widths={site.name: model.width(site) for site in sites},
        context_length=model.context_length,
        attention=model.attention,
        bos=spec.bos,
        template="none" if spec.template == "none" else "chat",
        template_arguments=None if isinstance(spec.template, str) else spec.template.model_dump(mode="json"),
        answer_prefix=spec.answer_prefix,
        special_tokens=spec.special_tokens,
        skip_first=spec.skip_first,
        reading=READING,
        max_tokens=spec.max_tokens,
        min_tokens=spec.min_tokens,
        batch_size=batch_size,
        axis=suite.axis,
        suite_source=suite.source,
        n_items=len(items),
        items_sha256=items.fingerprint(),
        metrics=spec.metrics,
        measure_seconds=earlier.measure_seconds if earlier else 0.0,
        controls=earlier.controls if earlier else {},
    )
