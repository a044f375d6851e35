"""Effects of interventions: pin, ablate, swap or patch some coordinates, and read what the model then does.

That a coordinate carries a difference of sparsity says nothing about whether the model uses it. Here it is changed, in
the pass itself, and outcomes and metrics are read clean and edited side by side::

    usual = capture_states(model, stories, "resid_post.4", "all")        # what the coordinate is on familiar text
    mean = np.stack(usual.vector).mean(axis=0)
    edit = pin("resid_post.4", [20], mean[[20]])
    found = intervene(model, wikitext, edit, norm="frozen")
    found.outcomes                                                       # name, clean, edited, one row per prompt

A final norm divides by the length of the state, so changing one coordinate rescales what is read of all others: with
``norm="recomputed"`` that is part of what the intervention does, with ``norm="frozen"`` it is not. The two can have
opposite signs, and only both together say what the coordinate itself does.

Non-goals: gradients, and circuits of many interventions at once (TransformerLens and nnsight do those).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.collection import BatchReadings, read_batch
from probes.capture.prompts import encode
from probes.capture.states import read_states
from probes.errors import InputError
from probes.interventions.changes import FinalNorm, editing, final_norm_of, frozen_scale, recorded_scale
from probes.interventions.edits import Edit, Resolved, change_of, resolved, swap
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import PromptError
from probes.models.tokens import BosPolicy
from probes.vocabulary.positions import Asked, Selector, parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity import MetricSpec, parse_metrics

Norm = Literal["recomputed", "frozen"]
Texts = Sequence[str] | Sequence[Sequence[int]]

OF_A_TARGET: Final = ("nll", "correct", "next_token_entropy")
OF_A_TEXT: Final = ("mean_nll", "mean_next_token_entropy", "next_token_entropy")


class Intervention(NamedTuple):
    """Results of an intervention.

    Attributes:
        outcomes: columns ``example_id`` (index of the prompt), ``name``, ``clean``, ``edited``; NaN where a prompt has
            no such outcome.
        measurements: columns ``example_id``, ``site``, ``layer``, ``unit``, ``position``, ``token``, ``metric``,
            ``clean``, ``edited``; empty unless sites were asked for.
    """

    outcomes: pd.DataFrame
    measurements: pd.DataFrame


def intervene(
    model: object,
    prompts: Texts,
    edits: Edit | Sequence[Edit],
    *,
    norm: Norm = "recomputed",
    targets: Sequence[str | None] | None = None,
    outcomes: Sequence[str] | None = None,
    sites: str | Sequence[str] = (),
    positions: Asked | Sequence[Asked] = "last",
    metrics: str | Sequence[str] = "default",
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
) -> Intervention:
    """Run prompts clean and edited, and read outcomes and metrics of both passes.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: texts, or lists of token ids.
        edits: what to change, from :func:`pin`, :func:`ablate` or :func:`swap`; one per site.
        norm: whether the scale of the final norm is that of the edited states, or frozen at that of the clean pass.
            Norms inside the blocks are always recomputed.
        targets: what should follow each prompt, for ``nll``, ``correct`` and ``margin``.
        outcomes: names as in a spec; by default ``nll``, ``correct`` and ``next_token_entropy`` where there are
            targets, else ``mean_nll``, ``mean_next_token_entropy`` and ``next_token_entropy``.
        sites: where to read metrics, e.g. ``["resid_post", "final_norm"]``; at an edited site they are those of the
            edited states.
        positions: which tokens the metrics are of.
        metrics: names as in ``sparsity list metrics``.
        max_tokens: cut prompts to this many tokens, BOS included; None: a prompt that is too long raises.
        batch_size: prompts per forward pass; it changes no value beyond rounding.
        bos: what to do about the beginning-of-sequence token.

    Returns:
        Outcomes and measurements, clean and edited side by side, in the order of the prompts.

    Raises:
        PromptError: naming the first prompt that cannot be read.
        InputError: for a site that cannot be edited, a coordinate it does not have, states of the wrong shape, or a
            frozen norm where there is none to freeze.
    """
    loaded = load_model(model)
    encoded = _encoded(loaded, prompts, targets, max_tokens, bos)
    changed = resolved(loaded, [edits] if isinstance(edits, Edit) else edits, encoded)
    reader = _Reader(
        loaded,
        resolve_sites(loaded, [sites] if isinstance(sites, str) else sites) if sites else (),
        parse_positions(positions, loaded.word),
        parse_metrics([metrics] if isinstance(metrics, str) else metrics),
        _asked(outcomes, targets),
        final_norm_of(loaded) if norm == "frozen" else None,
    )
    both: list[_Pair] = []
    for indices in plan_batches([len(prompt.ids) for prompt in encoded], batch_size):
        clean, scale = reader.clean(encoded, indices)
        both.append(_Pair(indices, clean, reader.edited(encoded, indices, changed, scale)))
    return Intervention(_outcome_frame(both, reader.outcomes), _measurement_frame(both, reader.metrics))


def patch_layers(
    model: object,
    prompts: Texts,
    sources: Texts,
    sites: str | Sequence[str] = ("resid_post",),
    positions: Asked | Sequence[Asked] = "last",
    *,
    targets: Sequence[str | None] | None = None,
    outcomes: Sequence[str] | None = None,
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
) -> pd.DataFrame:
    """Patch the states of one prompt into its partner, one site at a time: where does the difference between them sit?

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: the prompts that are patched and read.
        sources: their partners, one each, whose states are put in.
        sites: where to patch; a bare kind means all its layers, each in a pass of its own.
        positions: which tokens are patched; a pair must have equally many of them (``all``: prompts of equal length).
        targets: what should follow each prompt, and its partner.
        outcomes: as in :func:`intervene`.
        max_tokens: cut prompts to this many tokens.
        batch_size: prompts per forward pass.
        bos: what to do about the beginning-of-sequence token.

    Returns:
        Columns ``site``, ``layer``, ``example_id``, ``name``, ``clean`` (the prompt's own outcome), ``source`` (its
        partner's) and ``patched``.

    Raises:
        InputError: if the lists differ in length, or a pair in its number of picked tokens.
    """
    if len(prompts) != len(sources):
        raise InputError(f"patch_layers takes pairs, got {len(prompts)} prompts and {len(sources)} sources")
    loaded = load_model(model)
    into, partners = (_encoded(loaded, texts, targets, max_tokens, bos) for texts in (prompts, sources))
    selectors = parse_positions(positions, loaded.word)
    reader = _Reader(loaded, (), selectors, (), _asked(outcomes, targets), None)
    plan = plan_batches([len(prompt.ids) for prompt in into], batch_size)
    clean = [reader.clean(into, indices)[0] for indices in plan]
    source = [reader.clean(partners, indices)[0] for indices in plan]
    own = _outcome_frame([_Pair(*pair) for pair in zip(plan, clean, source, strict=True)], reader.outcomes)
    parts: list[pd.DataFrame] = []
    for site in resolve_sites(loaded, [sites] if isinstance(sites, str) else sites):
        states = _states_of(loaded, partners, site, selectors, plan)
        changed = resolved(loaded, [swap(str(site), states, positions=selectors)], into)
        patched = [reader.edited(into, indices, changed, None) for indices in plan]
        frame = _outcome_frame([_Pair(*pair) for pair in zip(plan, clean, patched, strict=True)], reader.outcomes)
        named = own.rename(columns={"edited": "source"}).assign(patched=frame["edited"])
        named.insert(0, "layer", np.int16(site.layer))
        named.insert(0, "site", site.name)
        parts.append(named)
    return pd.concat(parts, ignore_index=True)


class _Pair(NamedTuple):
    """Two passes over one batch."""

    indices: list[int]
    clean: BatchReadings
    edited: BatchReadings


class _Reader(NamedTuple):
    """Reads batches, clean and edited, for the same outcomes and metrics."""

    model: LoadedModel
    sites: Sequence[Site]
    positions: tuple[Selector, ...]
    metrics: tuple[MetricSpec, ...]
    outcomes: tuple[str, ...]
    frozen: FinalNorm | None

    def clean(self, prompts: Sequence[Prompt], indices: Sequence[int]) -> tuple[BatchReadings, Tensor | None]:
        """A pass in which nothing is changed, and the scale of its final norm if that is to be kept."""
        scales: list[Tensor] = []
        with nullcontext() if self.frozen is None else recorded_scale(self.frozen, scales):
            readings = self._run([prompts[index] for index in indices])
        return readings, scales[0] if scales else None

    def edited(
        self, prompts: Sequence[Prompt], indices: Sequence[int], changed: Sequence[Resolved], scale: Tensor | None
    ) -> BatchReadings:
        """A pass with the edits in place."""
        batch = [prompts[index] for index in indices]
        rows = len(batch) * max(len(prompt.ids) for prompt in batch)
        changes = {edit.site: change_of(edit, batch, indices) for edit in changed}
        kept = nullcontext() if self.frozen is None or scale is None else frozen_scale(self.frozen, scale)
        with kept, editing(self.model, changes, rows=rows):
            return self._run(batch)

    def _run(self, batch: Sequence[Prompt]) -> BatchReadings:
        return read_batch(
            self.model,
            batch,
            sites=self.sites,
            positions=self.positions,
            metrics=self.metrics,
            outcomes=self.outcomes,
        )


def _asked(outcomes: Sequence[str] | None, targets: Sequence[str | None] | None) -> tuple[str, ...]:
    if outcomes is not None:
        return tuple(outcomes)
    return OF_A_TARGET if targets else OF_A_TEXT


def _encoded(
    model: LoadedModel,
    texts: Texts,
    targets: Sequence[str | None] | None,
    max_tokens: int | None,
    bos: BosPolicy,
) -> list[Prompt]:
    if isinstance(texts, str) or len(texts) == 0:
        raise InputError("prompts must be a list with at least one text or list of token ids")
    if targets is not None and len(targets) != len(texts):
        raise InputError(f"{len(targets)} targets for {len(texts)} prompts; give one each, None for no target")
    found: list[Prompt] = []
    for index, text in enumerate(texts):
        target = None if targets is None else targets[index]
        try:
            found.append(encode(model, text, target=target, max_tokens=max_tokens, bos=bos))
        except PromptError as error:
            raise PromptError(f"prompt {index}: {error}") from error
    return found


def _states_of(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    site: Site,
    positions: tuple[Selector, ...],
    plan: Sequence[Sequence[int]],
) -> list[np.ndarray]:
    """Whole states of the picked tokens of every prompt, heads side by side."""
    found: dict[int, list[np.ndarray]] = {}
    for indices in plan:
        units = read_states(model, [prompts[index] for index in indices], sites=[site], positions=positions)
        heads = [[part for part in units if part.unit == unit] for unit in sorted({part.unit for part in units})]
        item = np.concatenate([part.item for part in heads[0]])
        token = np.concatenate([part.token for part in heads[0]])
        whole = np.concatenate([np.concatenate([part.vectors for part in parts]) for parts in heads], axis=1)
        for row in np.lexsort((token, item)):
            found.setdefault(indices[int(item[row])], []).append(whole[row])
    return [np.stack(found[index]) if index in found else np.empty((0, 1)) for index in range(len(prompts))]


def _outcome_frame(pairs: Sequence[_Pair], names: Sequence[str]) -> pd.DataFrame:
    """Outcomes of two passes, one row per prompt and name, in the order of the prompts."""
    indices = np.concatenate([pair.indices for pair in pairs])
    columns: list[np.ndarray] = []
    for which in ("clean", "edited"):
        table = [np.stack([getattr(pair, which).outcomes[name] for name in names], axis=1) for pair in pairs]
        columns.append(np.concatenate(table)[np.argsort(indices)].ravel())
    example_id = np.repeat([str(index) for index in range(len(indices))], len(names))
    return pd.DataFrame(
        {
            "example_id": example_id,
            "name": np.tile(list(names), len(indices)),
            "clean": columns[0],
            "edited": columns[1],
        }
    )


def _measurement_frame(pairs: Sequence[_Pair], metrics: Sequence[MetricSpec]) -> pd.DataFrame:
    """Metrics of two passes, one row per prompt, place and metric, in the order of the prompts."""
    columns = ["example_id", "site", "layer", "unit", "position", "token", "metric", "clean", "edited"]
    rows: list[tuple[object, ...]] = []
    for pair in pairs:
        for clean, edited in zip(pair.clean.readings, pair.edited.readings, strict=True):
            place = (clean.site.name, clean.site.layer, clean.unit, clean.position)
            for row, (item, token) in enumerate(zip(clean.item, clean.token, strict=True)):
                rows += [
                    (pair.indices[item], *place, token, str(metric), clean.values[row, at], edited.values[row, at])
                    for at, metric in enumerate(metrics)
                ]
    frame = pd.DataFrame(rows, columns=columns).sort_values("example_id", kind="stable", ignore_index=True)
    return frame.assign(example_id=frame["example_id"].astype(str))
