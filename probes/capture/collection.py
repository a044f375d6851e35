"""Measurements of a model on prompts: one batch (for sweeps), or a table (for notebooks)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float64
from pandas.api.extensions import ExtensionArray
from torch import Tensor

from probes.capture.batches import BatchSize, run_batches
from probes.capture.choices import has_endings
from probes.capture.continuing import run_watched
from probes.capture.logits import Reducer
from probes.capture.outcome_reading import read_logits
from probes.capture.prompts import encode_all, pad
from probes.capture.reading import RAW, Basis, Picks, Profiler, Reading
from probes.capture.storage import Kept, StateStore
from probes.models.hooks import Look
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import Template
from probes.models.tokens import BosPolicy
from probes.vocabulary.positions import Asked, parse_position, parse_positions
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity import MetricSpec, parse_metrics

ReadsLogits = Callable[[Sequence[Prompt]], Reducer]


@dataclass(frozen=True, slots=True, eq=False)
class BatchReadings:
    """Everything that one forward pass measured: metrics, outcomes, reductions of logits and stored vectors.

    Attributes:
        readings: metric values per site, basis, position and unit.
        outcomes: per name, one value per prompt.
        reduced: what each further reader of logits made of its rows.
        kept: the vectors that were asked for.
    """

    readings: tuple[Reading, ...]
    outcomes: dict[str, Float64[np.ndarray, " prompts"]]
    reduced: tuple[Float64[np.ndarray, "numbers rows"], ...] = ()
    kept: tuple[Kept, ...] = ()


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
    states: Sequence[tuple[Site, Asked]] = (),
    looks: Mapping[Site, Look] = MappingProxyType({}),
) -> BatchReadings:
    """Run one batch with hooks on and keep the metrics; of the states only those asked for, one vector per prompt.

    Args:
        model: what to run.
        prompts: encoded prompts; they are padded on the right and masked.
        sites: where to look, from :func:`resolve_sites`.
        positions: which tokens: words, slices, expressions (:mod:`probes.vocabulary.positions`), selectors, functions.
        metrics: what to compute of each vector.
        outcomes: what to read from the logits; none means that no logits are made.
        bases: coordinates to measure in.
        readers: what else reads the logits of this pass; each is asked once which rows of these prompts it needs.
        states: whose vectors are kept, by site and position.
        looks: what else is shown the states of this pass, and of no other that outcomes may need.

    Returns:
        The readings, and the outcomes in the order of the prompts.

    Raises:
        CaptureError: if a site did not show exactly one vector per token.
        InputError: for an unknown position or outcomes of a model that has none.
    """
    selectors = parse_positions(positions, model.word) if sites else ()  # a sweep may owe outcomes alone
    batch = pad(prompts, model.pad_id)
    profiler = Profiler(model.taps, Picks.of(prompts, selectors), metrics, bases, len(prompts), sites)
    store = StateStore(prompts, [(site, parse_position(position, model.word)) for site, position in states])
    measured = frozenset(sites)

    def look(site: Site, vectors: Tensor) -> None:
        if site in measured:
            profiler.look(site, vectors)
        store.look(site, vectors)
        if site in looks:
            looks[site](site, vectors)

    watched = tuple(dict.fromkeys([*sites, *(site for site, _ in states), *looks]))
    output = run_watched(model, batch, watched, look, keep=has_endings(model, prompts, outcomes))
    reducers = [reader(prompts) for reader in readers]
    found, reduced = read_logits(model, output, prompts, outcomes, reducers)
    return BatchReadings(profiler.readings(), found, tuple(reduced), store.kept())


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
    template: Template = "none",
    bases: Sequence[Basis] = (RAW,),
) -> pd.DataFrame:
    """Sparsity of some prompts as a tidy table.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        prompts: texts, or lists of token ids.
        sites: e.g. ``["resid_post", "mlp_post.3", "final_norm"]``; a bare kind means all its layers.
        positions: which tokens: words, slices, expressions (:mod:`probes.vocabulary.positions`), selectors, functions.
        metrics: names as in ``sparsity list metrics``; ``default`` for the default set.
        max_tokens: cut prompts to this many tokens, BOS included; None: a prompt that is too long raises.
        batch_size: prompts per forward pass; ``auto`` fills passes of a number of tokens, on an accelerator as many as
            its memory holds. It changes no value by more than rounding. Where memory does not hold a batch, a warning
            says so and smaller ones are read.
        bos: what to do about the beginning-of-sequence token.
        template: ``chat`` puts each text into the tokenizer's chat template.
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
    selectors = parse_positions(positions, loaded.word)
    specs = parse_metrics([metrics] if isinstance(metrics, str) else metrics)
    encoded = encode_all(loaded, prompts, max_tokens=max_tokens, bos=bos, template=template)
    read = partial(read_batch, loaded, sites=asked_sites, positions=selectors, metrics=specs, bases=bases)
    found: list[tuple[Reading, np.ndarray]] = []
    lengths = [len(prompt.ids) for prompt in encoded]
    passes = run_batches(lengths, batch_size, loaded.device, lambda own: read([encoded[index] for index in own]))
    for indices, result in passes:
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
