"""What a family's table is made of, and how a table meets a model.

A :class:`Layout` says where the blocks of a family are and, per kind of site, which module of a block to watch and on
which side of it. Meeting a model resolves each entry to a :class:`Point`: a module object, a side, and a number of
heads. A tap may give alternatives (``mlp.down_proj`` here, ``feed_forward.down_proj`` there): the first that exists in
a block is used, and where none does the site does not exist at that layer, which is how hybrids and leading dense
layers come out right.

Nothing is guessed for a family without a table beyond what can be derived safely (:mod:`probes.capture.taps.generic`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from torch import Tensor, nn

from probes.capture.sites import Site, SiteKind
from sparsity.registry import Registry

Side = Literal["in", "out"]
Config = Any  # transformers configurations are open bags of attributes: every family has its own


@dataclass(frozen=True, slots=True)
class Tap:
    """One entry of a table: a module below the block, and the side of it where the tensor is.

    Attributes:
        paths: dotted paths below the block, the first that exists counts; ``""`` is the block itself.
        side: ``in`` for what the module receives, ``out`` for what it returns.
        heads: 0 for one vector per token; n when the last axis is n heads side by side.
        part: which of ``parts`` equal slices of the last axis it is, where one matrix computes several sites.
        parts: how many such slices there are.
    """

    paths: tuple[str, ...]
    side: Side = "out"
    heads: int = 0
    part: int = 0
    parts: int = 1


PARALLEL: Final = {SiteKind.RESID_MID: "attention and MLP read the same stream side by side in this model"}
POST_NORM: Final = {SiteKind.FINAL_NORM: "post-norm blocks: resid_post of the last block is already normalised"}


def entering(*paths: str, heads: int = 0) -> Tap:
    """Watch what the module at the first existing path receives."""
    return Tap(paths, "in", heads)


def leaving(*paths: str, part: int = 0, parts: int = 1) -> Tap:
    """Watch what the module at the first existing path returns, or one slice of it."""
    return Tap(paths, "out", part=part, parts=parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The table of one stack of blocks.

    Attributes:
        blocks: path of the list of blocks, below the base model.
        embed: path of the token embedding, or None.
        final_norm: path of the final norm, or None where the family has none.
        taps: what to watch in each block.
        lacks: kinds that the family does not have, and why.
        stack: ``encoder`` or ``decoder``, else ``""``.
    """

    blocks: str
    embed: str | None
    final_norm: str | None
    taps: Mapping[SiteKind, Tap]
    lacks: Mapping[SiteKind, str] = field(default_factory=dict[SiteKind, str])
    stack: str = ""


Family = Callable[[Config], tuple[Layout, ...]]
FAMILIES: Final[Registry[Family]] = Registry("architecture family")


def family(*model_types: str) -> Callable[[Family], Family]:
    """Register a function from a configuration to its layouts under the ``model_type`` names it serves."""

    def register(function: Family) -> Family:
        for model_type in model_types:
            FAMILIES.add(model_type, function)
        return function

    return register


@dataclass(frozen=True, slots=True)
class Point:
    """Where one site is in one model: a module, the side of it to watch, and which slice of the tensor there."""

    module: nn.Module
    side: Side
    heads: int = 0
    part: int = 0
    parts: int = 1

    def own(self, tensor: Tensor) -> Tensor:
        """The site's own slice of the tensor that the module shows."""
        return tensor if self.parts == 1 else tensor.chunk(self.parts, dim=-1)[self.part]


@dataclass(frozen=True, slots=True)
class Taps:
    """Every site of one model.

    Attributes:
        points: where each site is, in the order of a forward pass.
        n_layers: number of blocks (of the longest stack).
        lacks: kinds of site that this model does not have, and why.
        family: the table that was used; ``generic`` when it was derived.
    """

    points: Mapping[Site, Point]
    n_layers: int
    lacks: Mapping[SiteKind, str]
    family: str


def descend(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path, or None."""
    for step in path.split(".") if path else ():
        child = getattr(module, step, None)
        if not isinstance(child, nn.Module):
            return None
        module = child
    return module
