"""Cells of a sweep as blocks: what is done and what is missing.

A cell is one number that a sweep owes: one item of one run, at one site, in one basis, at one position, by one metric
in one version. Cells come in blocks, because a forward pass fills every combination of the sites, positions and
metrics it was asked for. Commits record blocks, so that resuming reads a few commits and never the tables, and a
missing block is what is wanted less what is done, whatever order, batch size or device did it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from probes.records.arrow import column_of, found
from probes.vocabulary.names import RAW

STATE: Final = "state"  # the measure of a cell that is the vector itself


class Cell(NamedTuple):
    """One number (or vector) owed per item; outcomes and familiarity have no site, basis or position."""

    site: str
    basis: str
    position: str
    measure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Every combination of sites, bases, positions and versioned metrics; outcomes and familiarity beside them.

    Attributes:
        sites: where, with their layers.
        bases: coordinates.
        positions: which tokens.
        metrics: what is computed of the vectors, with versions.
        outcomes: what is read off the logits.
        familiarity: how well known the input is.
        states: vectors that are kept, each as ``<site> <position>``: kept sites and positions are fewer than measured
            ones.
    """

    sites: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    familiarity: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def cells(self) -> frozenset[Cell]:
        """The block written out."""
        measured = {
            Cell(site, basis, position, metric)
            for site in self.sites
            for basis in self.bases
            for position in self.positions
            for metric in self.metrics
        }
        kept = {_state_cell(name) for name in self.states}
        return frozenset(measured | kept | {Cell("", "", "", name) for name in (*self.outcomes, *self.familiarity)})


class Done(NamedTuple):
    """Items of one run and the block that is settled for each of them, by numbers or by recorded failures.

    Attributes:
        run_id: the run.
        example_ids: the items.
        block: what is settled of each.
        failed: by a row of ``failures`` rather than by numbers.
        min_tokens: for items left out because they are shorter than this; another limit settles nothing.
    """

    run_id: str
    example_ids: tuple[str, ...]
    block: Block
    failed: bool = False
    min_tokens: int | None = None


def missing(
    wanted: Block, example_ids: pa.StringArray, done: Sequence[Done]
) -> dict[Block, Int64[np.ndarray, " items"]]:
    """Items still owed, grouped by the block each of them lacks, in the order given.

    Args:
        wanted: what every item should have.
        example_ids: the items.
        done: what is recorded for the items of one run, oldest first. An item whose last record is a failure owes
            nothing.

    Returns:
        Blocks that together hold each missing cell exactly once, and the positions of the items that lack them.
    """
    blocks = list(dict.fromkeys(entry.block for entry in done if not entry.failed))
    has = np.zeros((len(example_ids), len(blocks)), dtype=bool)
    failed = np.zeros(len(example_ids), dtype=bool)
    if done:
        at = found(column_of(name for entry in done for name in entry.example_ids), example_ids)
        lengths = [len(entry.example_ids) for entry in done]
        number = {block: index for index, block in enumerate(blocks)}
        of_block = np.repeat([-1 if entry.failed else number[entry.block] for entry in done], lengths)
        known = at >= 0
        failed[at[known]] = of_block[known] < 0  # of an item that occurs twice, the later entry stays
        measured = known & (of_block >= 0)
        has[at[measured], of_block[measured]] = True
    owing = np.flatnonzero(~failed)
    signatures, first, group = np.unique(has[owing], axis=0, return_index=True, return_inverse=True)
    groups: dict[Block, list[np.ndarray]] = {}
    for which in np.argsort(first):
        settled = [block for block, there in zip(blocks, signatures[which], strict=True) if there]
        for block in subtract(wanted, settled):
            groups.setdefault(block, []).append(owing[group.ravel() == which])
    return {block: np.sort(np.concatenate(parts)) for block, parts in groups.items()}


def subtract(wanted: Block, done: Sequence[Block]) -> tuple[Block, ...]:
    """The cells of one block that others lack, as disjoint blocks."""
    left = wanted.cells().difference(*(block.cells() for block in done))
    if not left:
        return ()
    if len(left) == len(wanted.cells()):
        return (wanted,)
    outcomes, familiarity = (
        tuple(name for name in names if Cell("", "", "", name) in left)
        for names in (wanted.outcomes, wanted.familiarity)
    )
    states = tuple(name for name in wanted.states if _state_cell(name) in left)
    blocks = _rectangles(wanted, left)
    if not outcomes and not familiarity and not states:
        return blocks
    first, *others = blocks or (Block(),)
    return (replace(first, outcomes=outcomes, familiarity=familiarity, states=states), *others)


def state_name(site: str, position: str) -> str:
    """Name of the vectors kept at a site (with its layer) and a position, in a block."""
    return f"{site} {position}"


def state_place(name: str) -> tuple[str, str]:
    """Site and position of the vectors that a block names.

    >>> state_place(state_name("resid_post.3", "last"))
    ('resid_post.3', 'last')
    """
    site, _, position = name.partition(" ")
    return site, position


def _state_cell(name: str) -> Cell:
    site, position = state_place(name)
    return Cell(site, RAW, position, STATE)


def _rectangles(wanted: Block, left: frozenset[Cell]) -> tuple[Block, ...]:
    """Cover missing cells by blocks: metrics per place first, then places with the same metrics together."""
    by_metrics: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for basis in wanted.bases:
        for position in wanted.positions:
            for site in wanted.sites:
                metrics = tuple(m for m in wanted.metrics if Cell(site, basis, position, m) in left)
                if metrics:
                    by_metrics.setdefault((basis, position, metrics), []).append(site)
    by_sites: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (basis, position, metrics), sites in by_metrics.items():
        by_sites.setdefault((basis, metrics, tuple(sites)), []).append(position)
    return tuple(
        Block(sites=sites, bases=(basis,), positions=tuple(positions), metrics=metrics)
        for (basis, metrics, sites), positions in by_sites.items()
    )
