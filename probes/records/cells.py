"""What is done and what is missing, as blocks of cells.

A cell is one number that a sweep owes: one item of one run, at one site, in one basis, at one position, by one metric
in one version. Cells come in blocks, because a forward pass fills every combination of the sites, positions and
metrics it was asked for. Commits record blocks, so that resuming reads a few commits and never the tables, and a
missing block is what is wanted less what is done, whatever order, batch size or device did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """One number owed per item; outcomes have no site, basis or position."""

    site: str
    basis: str
    position: str
    measure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Every combination of sites, bases, positions and versioned metrics, and some outcomes beside them."""

    sites: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()

    def cells(self) -> frozenset[Cell]:
        """The block written out."""
        measured = {
            Cell(site, basis, position, metric)
            for site in self.sites
            for basis in self.bases
            for position in self.positions
            for metric in self.metrics
        }
        return frozenset(measured | {Cell("", "", "", outcome) for outcome in self.outcomes})


class Done(NamedTuple):
    """Items of one run and the block that is settled for each of them, by numbers or by recorded failures."""

    run_id: str
    example_ids: tuple[str, ...]
    block: Block
    failed: bool = False


def missing(wanted: Block, example_ids: Sequence[str], done: Iterable[Done]) -> dict[Block, tuple[str, ...]]:
    """What is still owed: items grouped by the block each of them lacks, in the order given.

    Args:
        wanted: what every item should have.
        example_ids: the items.
        done: what is recorded for the items of one run.

    Returns:
        Blocks that together hold each missing cell exactly once, and the items that lack them.
    """
    signatures: dict[str, list[Block]] = {}
    for entry in done:
        for example_id in entry.example_ids:
            signatures.setdefault(example_id, []).append(entry.block)
    owed: dict[tuple[Block, ...], tuple[Block, ...]] = {}
    groups: dict[Block, list[str]] = {}
    for example_id in example_ids:
        signature = tuple(signatures.get(example_id, ()))
        if signature not in owed:
            owed[signature] = subtract(wanted, signature)
        for block in owed[signature]:
            groups.setdefault(block, []).append(example_id)
    return {block: tuple(ids) for block, ids in groups.items()}


def subtract(wanted: Block, done: Sequence[Block]) -> tuple[Block, ...]:
    """The cells of one block that others lack, as disjoint blocks."""
    left = wanted.cells().difference(*(block.cells() for block in done))
    if not left:
        return ()
    if len(left) == len(wanted.cells()):
        return (wanted,)
    outcomes = tuple(name for name in wanted.outcomes if Cell("", "", "", name) in left)
    blocks = _rectangles(wanted, left)
    if not outcomes:
        return blocks
    if not blocks:
        return (Block(outcomes=outcomes),)
    first = blocks[0]
    return (
        Block(
            sites=first.sites,
            bases=first.bases,
            positions=first.positions,
            metrics=first.metrics,
            outcomes=outcomes,
        ),
        *blocks[1:],
    )


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


def versions(done: Iterable[Done]) -> Mapping[str, frozenset[str]]:
    """The versions in which each metric is recorded: ``gini`` -> ``{"1"}``."""
    found: dict[str, set[str]] = {}
    for entry in done:
        for metric in entry.block.metrics:
            name, _, version = metric.rpartition("@")
            found.setdefault(name, set()).add(version)
    return {name: frozenset(numbers) for name, numbers in found.items()}
