"""Outlier coordinates and massive tokens of one model on one suite, site by site: what raw Hoyer may really be about.

One coordinate can hold most of the energy of every ordinary token (a rogue dimension), and one token can be a hundred
times as long as its neighbours (an attention sink). Both dominate raw sparsity and means over tokens. Here is how much
of each there is in the reservoir, at every site; it costs next to nothing beside reading it.

======================= ============== ======================================================================
metric                  basis          value
======================= ============== ======================================================================
top_coordinate_energy   raw            share of the energy that the coordinate ``unit``, the one with most,
                                       holds over ordinary tokens: 1/d when all hold alike, 1 when it holds all
mean_hoyer              raw,           mean Hoyer of ordinary tokens, as they are and without that coordinate
                        without_top(1)
first_token_norm        raw            length of the first token over the median length of its prompt's tokens;
                                       median over items
largest_token_norm      raw            the same for the longest of the other tokens
massive_tokens          raw            share of tokens more than five times as long as that median, the first
                                       token included
======================= ============== ======================================================================

Ordinary tokens are those of position ``mean`` that are not massive. The share of energy is over all of them, because
few tokens hold much of it: of SmolLM2 (24 prompts of GSM8K, layers 2 to 7) the share in at most 16 evenly spaced tokens
of each item was off by about .09 in either direction. Mean Hoyer is over those 16. Lengths are of all prompt tokens
(position ``all``). Rows are in ``populations`` with ``group`` the name of the suite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import sparsity
from probes.controls.member_states import Energy, Sample, States
from probes.controls.populations import PopulationRows
from probes.vocabulary import names
from probes.vocabulary.massive_tokens import massive
from probes.vocabulary.sites import Site
from sparsity.locate import without


def add_outliers(states: States, sites: Sequence[Site], suite: str, rows: PopulationRows) -> None:
    """Add the rows of every site.

    Args:
        states: of the reservoir, position ``mean`` among them.
        sites: where; none has heads.
        suite: the group that the rows are about.
        rows: what they are added to.
    """
    for site in sites:
        if (site, "mean") in states:
            _add(states.sample(site, "mean"), states.energy(site), states.lengths(site), suite, rows)


def _add(sample: Sample, energy: Energy, lengths: Sequence[np.ndarray], suite: str, rows: PopulationRows) -> None:
    """Rows of one site; ``energy`` of all ordinary tokens, ``lengths`` of all tokens, item by item."""
    item = np.repeat(np.arange(len(lengths)), [len(own) for own in lengths])
    length = np.concatenate(lengths).astype(np.float64)
    told = massive(length, item)
    starts = np.cumsum([0, *(len(own) for own in lengths[:-1])])
    ordinary = ~told[starts[sample.item] + sample.token] & np.isfinite(sample.vectors).all(axis=1)
    vectors = sample.vectors[ordinary]
    whole = float(energy.total.sum())
    if energy.n and len(energy.total) > 2 and whole > 0:
        top = int(energy.total.argmax())
        share = float(energy.total[top]) / whole
        rows.add(suite, sample, top, names.TOP_COORDINATE_ENERGY, share, energy.n)
        for basis, own in (("raw", vectors), (names.WITHOUT_TOP[0], without(vectors, [top]))) if len(vectors) else ():
            hoyer = np.asarray(sparsity.hoyer(np.ascontiguousarray(own)))
            value = float(hoyer[~np.isnan(hoyer)].mean()) if not np.isnan(hoyer).all() else np.nan
            rows.add(suite, sample, -1, names.MEAN_HOYER, value, len(vectors), basis=basis)
    several = [own.astype(np.float64) / np.median(own) for own in lengths if len(own) > 1 and np.median(own) > 0]
    for name, value in (
        (names.FIRST_NORM, np.median([own[0] for own in several]) if several else np.nan),
        (names.LARGEST_NORM, np.median([own[1:].max() for own in several]) if several else np.nan),
        (names.MASSIVE_TOKENS, told.mean()),
    ):
        rows.add(suite, sample, -1, name, float(value), len(length), position="all")
