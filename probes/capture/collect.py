"""Measurements of a model on prompts: one batch (for sweeps), or a table (for notebooks)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from pandas.api.extensions import ExtensionArray

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.choices import read_choices
from probes.capture.logits import Reducer, reduce_logits
from probes.capture.models import LoadedModel, load_model
from probes.capture.outcomes import outcome_reducer, outcomes_of
from probes.capture.positions import Asked, parse_positions
from probes.capture.prompts import BosPolicy, Prompt, encode_all, pad
from probes.capture.reading import RAW, Basis, Picks, Profiler, Reading
from probes.capture.sites import Site, resolve_sites
from probes.capture.watching import CaptureError, watching
from sparsity import MetricSpec, parse_metrics

ReadsLogits = Callable[[Sequence[Prompt]], Reducer]


@dataclass(frozen=True, slots=True, eq=False)
class BatchReadings:
    """What one forward pass left behind.

    Attributes:
        readings: metric values per site, basis, position and unit.
        outcomes: per name, one value per prompt.
        reduced: what each further reader of logits made of its rows.
    """

    readings: tuple[Reading, ...]
    outcomes: dict[str, Float64[np.ndarray, " prompts"]]
    reduced: tuple[Float64[np.ndarray, "numbers rows"], ...] = ()


def read_batch(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    sites: Sequence[Site],
    positions: Asked | Sequence[Asked],
    metrics: Sequence[MetricSpec],
    outcomes: Sequence[str] = (),
    bases: Sequence[Basis] = (RAW,),
    readers: Sequence[ReadsLogits] = (),
) -> BatchReadings:
    """Run one batch with hooks on and keep the metrics, never the states.

    Args:
        model: what to run.
        prompts: encoded prompts; they are padded on the right and masked.
        sites: where to look, from :func:`resolve_sites`.
        positions: which tokens: ``last``, ``mean``, ``all``, ``answer``, a slice ``5:10``, or selectors.
        metrics: what to compute of each vector.
        outcomes: what to read from the logits; none means that no logits are made.
        bases: coordinates to measure in.
        readers: what else reads the logits of this pass; each is asked once which rows of these prompts it needs.

    Returns:
        The readings, and the outcomes in the order of the prompts.

    Raises:
        CaptureError: if a site did not show exactly one vector per token.
        InputError: for an unknown position or outcomes of a model that has none.
    """
    selectors = parse_positions(positions) if sites else ()  # a sweep may owe outcomes alone
    batch = pad(prompts, model.pad_id)
    profiler = Profiler(model.taps, Picks.of(prompts, selectors), metrics, bases, len(prompts), sites)
    with watching(model.taps, sites, profiler.look, rows=batch.ids.numel()):
        output = model.run(batch)
    reducers = [reader(prompts) for reader in readers]
    found: dict[str, Float64[np.ndarray, " prompts"]] = {}
    reduced: list[Float64[np.ndarray, "numbers rows"]] = []
    if outcomes:
        own = outcome_reducer(model, prompts, outcomes)
        table, *reduced = reduce_logits(model, output, [own, *reducers])
        found = outcomes_of(prompts, outcomes, own.rows, table) | read_choices(model, output, prompts, outcomes)
    elif reducers:
        reduced = reduce_logits(model, output, reducers)
    return BatchReadings(profiler.readings(), found, tuple(reduced))


def read_in_memory(read: Callable[[Sequence[Prompt]], BatchReadings], prompts: Sequence[Prompt]) -> BatchReadings:
    """Read a batch, in halves where memory does not hold the whole, and say so.

    Args:
        read: reads some prompts in one pass, e.g. ``partial(read_batch, model, sites=...)``.
        prompts: encoded prompts.

    Returns:
        What ``read(prompts)`` would have returned.

    Raises:
        CaptureError: if even one prompt alone does not fit.
    """
    try:
        return read(prompts)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    if len(prompts) == 1:
        raise CaptureError(f"out of memory on one prompt of {len(prompts[0].ids)} tokens; set max_tokens")
    half = (len(prompts) + 1) // 2
    warnings.warn(f"out of memory on a batch of {len(prompts)} prompts; reading {half} at a time", stacklevel=2)
    return _join(read_in_memory(read, prompts[:half]), read_in_memory(read, prompts[half:]), half)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an accelerator, or the host, had no room."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _join(first: BatchReadings, second: BatchReadings, offset: int) -> BatchReadings:
    """Two batches as one; items of the second come after those of the first."""
    readings = [
        replace(
            a,
            item=np.concatenate([a.item, b.item + np.int32(offset)]),
            token=np.concatenate([a.token, b.token]),
            values=np.concatenate([a.values, b.values]),
            n_undefined=np.concatenate([a.n_undefined, b.n_undefined]),
        )
        for a, b in zip(first.readings, second.readings, strict=True)
    ]
    outcomes = {name: np.concatenate([values, second.outcomes[name]]) for name, values in first.outcomes.items()}
    reduced = tuple(np.concatenate(both, axis=1) for both in zip(first.reduced, second.reduced, strict=True))
    return BatchReadings(tuple(readings), outcomes, reduced)


def collect(
    model: object,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    sites: str | Sequence[str] = ("resid_post",),
    positions: Asked | Sequence[Asked] = "last",
    metrics: str | Sequence[str] = "default",
    *,
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
    bases: Sequence[Basis] = (RAW,),
) -> pd.DataFrame:
    """Sparsity of some prompts as a tidy table.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: texts, or lists of token ids.
        sites: e.g. ``["resid_post", "mlp_post.3", "final_norm"]``; a bare kind means all its layers.
        positions: ``last``, ``mean``, ``all``, ``answer``, a slice ``5:10``, or selectors.
        metrics: names as in ``sparsity list metrics``; ``default`` for the default set.
        max_tokens: cut prompts to this many tokens, BOS included; None: a prompt that is too long raises.
        batch_size: prompts per forward pass; it changes no value.
        bos: what to do about the beginning-of-sequence token.
        bases: coordinates to measure in.

    Returns:
        The columns of the ``measurements`` table, rows in the order of the prompts; ``example_id`` is the prompt's
        index and
        ``run_id`` the beginning of the model's fingerprint.

    Raises:
        PromptError: naming the first prompt that cannot be read.
        InputError: for a site, position or setting that this model cannot serve.
    """
    loaded = load_model(model)
    asked_sites = resolve_sites(loaded, [sites] if isinstance(sites, str) else sites)
    selectors = parse_positions(positions)
    specs = parse_metrics([metrics] if isinstance(metrics, str) else metrics)
    encoded = encode_all(loaded, prompts, max_tokens=max_tokens, bos=bos)
    read = partial(read_batch, loaded, sites=asked_sites, positions=selectors, metrics=specs, bases=bases)
    found: list[tuple[Reading, np.ndarray]] = []
    for indices in plan_batches([len(prompt.ids) for prompt in encoded], batch_size):
        batch = [encoded[index] for index in indices]
        result = read_in_memory(read, batch)
        found += [(reading, np.array(indices)[reading.item]) for reading in result.readings]
    return melt(loaded, found, specs, len(encoded))


def melt(
    model: LoadedModel, found: Sequence[tuple[Reading, np.ndarray]], metrics: Sequence[MetricSpec], n_prompts: int
) -> pd.DataFrame:
    """Readings as rows of measurements.

    Args:
        model: what was run.
        found: readings of any number of passes, each with the prompts that its items are.
        metrics: the columns of the readings.
        n_prompts: how many prompts there were.

    Returns:
        One row per value, in the order of the prompts, the sites asked, the positions asked, tokens and metrics.
    """
    names = [str(metric) for metric in metrics]
    places = {place: rank for rank, place in enumerate(dict.fromkeys(_place(reading) for reading, _ in found))}
    rank = np.concatenate([np.full(len(item), places[_place(reading)]) for reading, item in found])
    item = np.concatenate([item for _, item in found])
    token = np.concatenate([reading.token for reading, _ in found])
    values = np.concatenate([reading.values for reading, _ in found])
    n_undefined = np.concatenate([reading.n_undefined for reading, _ in found])
    order = np.lexsort((token, rank, item))
    rank, wide = rank[order], len(names)
    sites, positions, units, layers, bases = zip(*places, strict=True)

    def label(of_place: Sequence[str]) -> ExtensionArray:
        categories = list(dict.fromkeys(of_place))
        codes = np.array([categories.index(name) for name in of_place])
        return _named(np.repeat(codes[rank], wide), categories)

    return pd.DataFrame(
        {
            "run_id": _named(np.zeros(len(rank) * wide, dtype=np.int8), [model.fingerprint[:16]]),
            "example_id": _named(np.repeat(item[order], wide), [str(index) for index in range(n_prompts)]),
            "site": label(sites),
            "layer": np.repeat(np.array(layers, dtype=np.int16)[rank], wide),
            "unit": np.repeat(np.array(units, dtype=np.int32)[rank], wide),
            "basis": label(bases),
            "position": label(positions),
            "token": np.repeat(token[order], wide).astype(np.int32),
            "metric": _named(np.tile(np.arange(wide), len(rank)), names),
            "value": values[order].reshape(-1),
            "n_undefined": n_undefined[order].reshape(-1),
        }
    )


def _named(codes: np.ndarray, names: list[str]) -> ExtensionArray:
    """A column of repeated names."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(names))


def _place(reading: Reading) -> tuple[str, str, int, int, str]:
    return reading.site.name, reading.position, reading.unit, reading.site.layer, reading.basis
