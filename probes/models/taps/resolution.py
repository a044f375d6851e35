"""A table meets a model: every site of the table becomes a module object to watch, or a reason why it is not there."""

from __future__ import annotations

from torch import nn

from probes.errors import InputError
from probes.models.taps.derived import derive
from probes.models.taps.table import FAMILIES, Config, Layout, Point, Taps, descend
from probes.vocabulary.sites import EMBED_LAYER, Site, SiteKind


def find_taps(base: nn.Module, config: Config) -> Taps:
    """Find every site of a model.

    Args:
        base: the model without its head.
        config: its configuration.

    Returns:
        Its sites, from the family's table where there is one, else those that are derived.

    Raises:
        InputError: if no list of blocks can be found.
    """
    model_type = str(getattr(config, "model_type", ""))
    text = descend(base, "language_model") or base  # models that also see keep their text model one step down
    if model_type in FAMILIES:
        return _meet(text, FAMILIES[model_type](config), model_type)
    return derive(base, text, config)


def _meet(base: nn.Module, layouts: tuple[Layout, ...], name: str) -> Taps:
    """Resolve the layouts against the modules of one model."""
    points: dict[Site, Point] = {}
    lacks: dict[SiteKind, str] = {}
    depths: list[int] = []
    for layout in layouts:
        blocks = descend(base, layout.blocks)
        if not isinstance(blocks, nn.ModuleList) or not len(blocks):
            raise InputError(
                f"no blocks at {layout.blocks!r} of {type(base).__name__}, read by the table of {name!r}; "
                "hand in the transformers model itself"
            )
        depths.append(len(blocks))
        points.update(_resolve(base, list(blocks), layout))
        lacks.update(layout.lacks)
    present = {site.kind for site in points}
    missing = {kind: lacks.get(kind, f"not in the table of {name!r}") for kind in SiteKind if kind not in present}
    return Taps(points, max(depths), missing, name)


def _resolve(base: nn.Module, blocks: list[nn.Module], layout: Layout) -> dict[Site, Point]:
    """Every site of one stack, in the order of a forward pass."""
    points: dict[Site, Point] = {}
    whole = {SiteKind.EMBED: (layout.embed, EMBED_LAYER), SiteKind.FINAL_NORM: (layout.final_norm, len(blocks))}

    def add_whole(kind: SiteKind) -> None:
        path, layer = whole[kind]
        module = None if path is None else descend(base, path)
        if path is not None and module is None:
            raise InputError(f"no {kind} at {path!r} of {type(base).__name__}: its table is out of date")
        if module is not None:
            points[Site(kind, layer, layout.stack)] = Point(module, "out")

    add_whole(SiteKind.EMBED)
    for layer, block in enumerate(blocks):
        for kind in SiteKind:
            tap = layout.taps.get(kind)
            found = [] if tap is None else [m for path in tap.paths if (m := descend(block, path)) is not None]
            if tap is not None and found:
                points[Site(kind, layer, layout.stack)] = Point(
                    found[0], tap.side, tap.heads, tap.part, tap.parts, tap.scale
                )
    add_whole(SiteKind.FINAL_NORM)
    return points
