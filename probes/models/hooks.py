"""Hooks on the modules behind some sites, for exactly one forward pass.

The commonest fault of activation collectors is silence: a hook that never fires because the family returns a list, or
fires twice because a block is shared, and numbers that are stored all the same. Here every watched site must be seen
exactly once per pass with one vector per token, or the pass fails. Hooks only look: they return nothing, so the output
of the model is bit-identical with and without them, and they are removed whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from probes.models.taps import Point, Taps
from probes.models.taps.trace import first_tensor, received
from probes.vocabulary.sites import Site

Look = Callable[[Site, Tensor], None]
Value = Any  # a module may take and return anything


class CaptureError(RuntimeError):
    """Hooks did not see what was asked for; no numbers of this batch are kept."""


@contextmanager
def watching(taps: Taps, sites: Sequence[Site], look: Look, *, rows: int | None = None) -> Generator[None]:
    """Show one forward pass to a function, site by site, while it runs.

    Args:
        taps: where the sites are.
        sites: which to watch.
        look: called inside the pass with the site and its vectors, ``(tokens, width)``; it must not keep the tensor.
        rows: number of tokens of the batch, padding included; None: any.

    Yields:
        Nothing; run the model once inside.

    Raises:
        CaptureError: if a site was seen not once, or with another number of vectors than tokens.
    """
    seen = dict.fromkeys(sites, 0)

    def see(site: Site, tensor: Tensor) -> None:
        seen[site] += 1
        point = taps.points[site]
        if seen[site] != point.calls:  # a module that runs several times a pass is the site when it runs for the last
            return
        own = point.own(tensor.detach())
        vectors = own.reshape(-1, own.shape[-1])
        if rows is not None and len(vectors) != rows:
            raise CaptureError(f"{site} showed {len(vectors)} vectors for {rows} tokens")
        look(site, vectors)

    with ExitStack() as hooks:
        for site in sites:
            hooks.callback(_attach(taps.points[site], site, see).remove)
        yield
    wrong = [f"{site} {times} times" for site, times in seen.items() if times != taps.points[site].calls]
    if wrong:
        raise CaptureError(f"each site must be seen once per pass, but: {', '.join(wrong)}")


def _attach(point: Point, site: Site, see: Look) -> torch.utils.hooks.RemovableHandle:
    """Hook one module on one side."""
    if point.side == "in":
        return point.module.register_forward_pre_hook(partial(_before, see, site), with_kwargs=True)
    return point.module.register_forward_hook(partial(_after, see, site))


def _before(see: Look, site: Site, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Show what a module receives."""
    see(site, _shown(received(args, kwargs), site))


def _after(see: Look, site: Site, _module: nn.Module, _args: Value, output: Value) -> None:
    """Show what a module returns."""
    see(site, _shown(first_tensor(output), site))


def _shown(tensor: Tensor | None, site: Site) -> Tensor:
    if tensor is None:
        raise CaptureError(f"{site}: the module at this site shows no tensor")
    return tensor
