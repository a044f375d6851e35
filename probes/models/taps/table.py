"""Table of a family: module and side for each site, and the search for them in a loaded model.

A :class:`Layout` names the blocks of a family and, per kind of site, the module of a block to hook and the side of it
(input or output). Applied to a model, each entry becomes a :class:`Point`: a module object, a side, and a number of
heads. A tap may give alternatives (``mlp.down_proj`` here, ``feed_forward.down_proj`` there): the first that exists in
a block is used, and where none does the site does not exist at that layer, which is how hybrids and leading dense
layers come out right.

A family needs a table only where the arithmetic of its blocks does not determine its sites: norms after the
addition, two stacks, recurrences of their own kind. All others are derived (:mod:`probes.models.taps.derived`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from torch import Tensor, nn

from probes.vocabulary.sites import Site, SiteKind
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
        scale: what the block multiplies it by before it is added to the residual stream.
    """

    paths: tuple[str, ...]
    side: Side = "out"
    heads: int = 0
    part: int = 0
    parts: int = 1
    scale: float = 1.0

    def on(self, module: nn.Module) -> Point:
        """The point that this tap is on one module."""
        return Point(module, self.side, self.heads, self.part, self.parts, self.scale)


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
FAMILIES: Final[Registry[Family]] = Registry("architecture family", "probes.models.taps")


def family(*model_types: str) -> Callable[[Family], Family]:
    """Register a function from a configuration to its layouts under the ``model_type`` names it serves."""

    def register(function: Family) -> Family:
        for model_type in model_types:
            FAMILIES.add(model_type, function)
        return function

    return register


@dataclass(frozen=True, slots=True)
class Point:
    """Module, side and part of a tensor that hold one site of one model.

    Attributes:
        module: what to watch.
        side: which side of it.
        heads: 0 for one vector per token; n when the last axis is n heads side by side.
        part: which of ``parts`` equal slices of the last axis it is.
        parts: how many such slices there are.
        scale: what the block multiplies the tensor by before it adds it.
        stream: which entry of the first axis it is where a block carries several streams; None where it carries one.
        calls: how often the module runs in a pass; the last call is the site.
    """

    module: nn.Module
    side: Side
    heads: int = 0
    part: int = 0
    parts: int = 1
    scale: float = 1.0
    stream: int | None = None
    calls: int = 1

    @property
    def is_slice(self) -> bool:
        """True if the tensor at the module holds more than this site."""
        return self.parts > 1 or self.stream is not None

    def own(self, tensor: Tensor) -> Tensor:
        """The site's own part of the tensor that the module shows, as it is added to the residual stream."""
        if self.stream is not None:
            tensor = tensor[self.stream]
        if self.parts > 1:
            tensor = tensor.chunk(self.parts, dim=-1)[self.part]
        return tensor if self.scale == 1 else tensor * self.scale


@dataclass(frozen=True, slots=True)
class Taps:
    """Every site of one model.

    Attributes:
        points: where each site is, in the order of a forward pass.
        n_layers: number of blocks (of the longest stack).
        lacks: kinds of site that this model does not have, and why.
        family: ``model_type`` of the configuration.
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
