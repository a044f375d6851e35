"""Null models of a sweep: a change or a set of states as if the coordinates, or the training, meant nothing.

============ ==========================================================================================================
rotations    the change of mean Hoyer from the reference to a group, in the model's own coordinates, beside the same
             under random rotations that all groups share; at the end of the residual stream and the final norm.
             Where rotations give as large a change, it is one of directions and not of coordinates
shuffle      each coordinate's values dealt out anew among the vectors of a group: every coordinate keeps its values,
             and what goes together in one vector is lost. Rows in basis ``shuffled``
untrained    the same items in a model of the same configuration with weights as they are before training. Rows in basis
             ``untrained``
============ ==========================================================================================================

All go over the reservoir of the controls, so a null is about the same items as what stands beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

import sparsity
from probes.capture.reading import Reading
from probes.controls.basis_panel import reading
from probes.controls.member_states import Sample, read_states_of, wanted_states
from probes.controls.populations import PopulationRows
from probes.errors import InputError
from probes.models.devices import is_spread, spread_like
from probes.models.loading import LoadedModel, load_model
from probes.vocabulary import names
from probes.vocabulary.sites import Site
from sparsity.rotations import rotation_tests

if TYPE_CHECKING:
    from probes.controls.request import Ask

ROTATIONS: Final = 99  # the least p is 1 in 100
CHANCE: Final = {"shuffle": 2, "rotations": 3}  # which generator of a sample is whose; the stage has 0 and 1
MIDDLE: Final = (2.5, 97.5)  # percentiles between which 95 % of the rotations lie


def add_nulls(
    rows: PopulationRows,
    sample: Sample,
    groups: np.ndarray,
    ask: Ask,
    reference: Sequence[str],
    ends: Sequence[Site],
    chance: Callable[[int], np.random.Generator],
    pause: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Rows of the nulls of one site and position that are asked for; what there cannot be, and why.

    Each null has a generator of its own, so that none depends on which others are asked for.
    """
    if "shuffle" in ask.controls:
        add_shuffled(rows, sample, groups, ask.populations, chance(CHANCE["shuffle"]), pause)
    if "rotations" in ask.controls and sample.site in ends:
        if not reference:
            return {"rotations": "no group of this run is a reference for the others"}
        add_rotations(rows, sample, groups, reference, chance(CHANCE["rotations"]), pause)
    return {}


def add_set(
    rows: PopulationRows,
    group: str,
    sample: Sample,
    vectors: np.ndarray,
    metrics: Sequence[str] | None,
    basis: str,
) -> None:
    """Rows of one group in one basis: mean Hoyer, and the measures of its vectors as a set."""
    hoyer = np.asarray(sparsity.hoyer(np.ascontiguousarray(vectors))) if len(vectors) else np.full(1, np.nan)
    value = float(np.nanmean(hoyer)) if not np.isnan(hoyer).all() else np.nan
    rows.add(group, sample, -1, names.MEAN_HOYER, value, len(vectors), basis=basis)
    rows.add_population(group, sample, vectors, metrics, basis=basis)


def shuffled(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The vectors with every coordinate's values dealt out anew among them.

    >>> found = shuffled(np.arange(6.0).reshape(3, 2), np.random.default_rng(0))
    >>> np.sort(found, axis=0).tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    return rng.permuted(vectors, axis=0)


def add_shuffled(
    rows: PopulationRows,
    sample: Sample,
    groups: np.ndarray,
    metrics: Sequence[str] | None,
    rng: np.random.Generator,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """Rows of every group with its coordinates shuffled, and its mean Hoyer as it is."""
    for group in dict.fromkeys(groups.tolist()):
        pause()
        own = sample.vectors[groups == group].astype(np.float64)
        add_set(rows, group, sample, own, (), names.RAW)
        add_set(rows, group, sample, shuffled(own, rng), metrics, names.SHUFFLED)


def add_untrained(
    rows: PopulationRows,
    model: LoadedModel,
    ask: Ask,
    sites: Sequence[Site],
    groups: np.ndarray,
    pause: Callable[[], None] = lambda: None,
) -> list[Reading]:
    """Rows of every group, and the metrics of every item, in the model before training; ``groups`` are of items."""
    twin = untrained_twin(model, ask.seed)
    wanted = wanted_states(twin, sites, ask.positions, len(ask.members))
    found: list[Reading] = []
    with read_states_of(twin, ask.prompts, wanted, batches=ask.batches, pause=pause) as states:
        for site, position in product(sites, ask.positions):
            pause()
            sample = states.sample(site, position)
            found.append(reading(sample, names.UNTRAINED, sample.vectors, ask.metrics))
            for group in dict.fromkeys(groups.tolist()):
                own = sample.vectors[groups[sample.item] == group].astype(np.float64)
                add_set(rows, group, sample, own, ask.populations, names.UNTRAINED)
    return found


def add_rotations(
    rows: PopulationRows,
    sample: Sample,
    groups: np.ndarray,
    reference: Sequence[str],
    rng: np.random.Generator,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """Rows of every group that is not of the reference: its change, where rotations put that, and the rank p."""
    others = [group for group in dict.fromkeys(groups.tolist()) if group not in reference]
    inside = sample.vectors[np.isin(groups, reference)]
    if not others or not len(inside):
        return
    sets = [sample.vectors[groups == group] for group in others]
    found = rotation_tests(inside, sets, "hoyer", rotations=ROTATIONS, rng=rng, pause=pause)
    for group, own, test in zip(others, sets, found, strict=True):
        low, high = np.percentile(test.rotated, MIDDLE)
        rows.add(group, sample, -1, names.ROTATION_CHANGE, test.change, len(own), (float(low), float(high)))
        rows.add(group, sample, -1, names.ROTATION_P, test.p, len(own))


def untrained_twin(model: LoadedModel, seed: int) -> LoadedModel:
    """A model of the same class and configuration with the weights its family begins training from.

    Raises:
        InputError: if the model cannot be made from its configuration alone (quantized, or wrapped by a bridge).
    """
    module = model.module
    if model.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise InputError(f"{model.name}: an untrained model is made in floating point, and this one is {model.dtype}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            make: Any = type(module)
            twin = make(copy.deepcopy(module.config))
        except Exception as error:  # a class of its own may want more than a configuration
            raise InputError(f"{model.name}: no untrained model can be made of its configuration: {error}") from error
    if is_spread(module):
        return load_model(spread_like(twin.to(dtype=model.dtype), module), tokenizer=model.tokenizer)
    return load_model(twin.to(device=model.device, dtype=model.dtype), tokenizer=model.tokenizer)
