"""Hooks that change what a module receives or returns, for exactly one forward pass.

The counterpart of :mod:`probes.models.hooks`, with the same guarantees: every edited site is met exactly once per
pass with one vector per token, or the pass fails; hooks are removed whatever happens. A site is edited where its tensor
goes on to everything that reads it. Two kinds of site are none: the input of the second norm of a block is a copy of
the residual stream that the block adds back unedited (``resid_mid``), and some routers have chosen their experts by the
time their logits are shown (``router_logits``).

The final norm divides by the length of what it reads, so an edit of one coordinate also rescales all others. To tell
the two apart the norm can be frozen: its scale, and nothing else, is kept from the clean pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from probes.errors import InputError
from probes.models.devices import device_of
from probes.models.hooks import CaptureError
from probes.models.loading import LoadedModel
from probes.models.taps import Point
from probes.vocabulary.sites import Site, SiteKind

Change = Callable[[Tensor], Tensor]  # vectors of a whole batch (tokens, width) -> the same shape
Value = Any  # a module may take and return anything

UNEDITABLE: Final = {
    SiteKind.RESID_MID: "the block adds the unedited stream back after it; edit resid_pre, attn_out or mlp_out",
    SiteKind.ROUTER_LOGITS: "the experts may have been chosen by the time they are shown; edit mlp_out",
}
EPSILONS: Final = ("eps", "variance_epsilon", "norm_eps", "epsilon")


@contextmanager
def editing(model: LoadedModel, changes: Mapping[Site, Change], *, rows: int) -> Generator[None]:
    """Let one forward pass go on with changed vectors.

    Args:
        model: what will run.
        changes: per site, from its vectors ``(tokens, width)``, padding included, to what goes on in their place.
        rows: number of tokens of the batch, padding included.

    Yields:
        Nothing; run the model once inside. Hooks that watch the same site see the changed vectors.

    Raises:
        InputError: for a site that cannot be edited.
        CaptureError: if a site was met not once, or with another number of vectors than tokens.
    """
    for site in changes:
        if site.kind in UNEDITABLE:
            raise InputError(f"{site} cannot be edited: {UNEDITABLE[site.kind]}")
        if model.taps.points[site].is_slice:
            raise InputError(f"{site} cannot be edited: it is a slice of what its module returns; edit mlp_post")
    met = dict.fromkeys(changes, 0)

    def edit(site: Site, tensor: Tensor) -> Tensor:
        met[site] += 1
        point = model.taps.points[site]
        if met[site] != point.calls:
            return tensor
        vectors = point.own(tensor.detach()).reshape(-1, tensor.shape[-1])
        if len(vectors) != rows:
            raise CaptureError(f"{site} showed {len(vectors)} vectors for {rows} tokens")
        return (changes[site](vectors) / point.scale).to(tensor.dtype).reshape(tensor.shape)

    with ExitStack() as hooks:
        for site in changes:
            hooks.callback(_attach(model.taps.points[site], site, partial(edit, site)).remove)
        yield
    wrong = [f"{site} {times} times" for site, times in met.items() if times != model.taps.points[site].calls]
    if wrong:
        raise CaptureError(f"each edited site must run once per pass, but ran otherwise: {', '.join(wrong)}")


def _attach(point: Point, site: Site, change: Change) -> torch.utils.hooks.RemovableHandle:
    if point.side == "in":
        return point.module.register_forward_pre_hook(partial(_before, change, site), with_kwargs=True)
    return point.module.register_forward_hook(partial(_after, change, site))


def _before(
    change: Change, site: Site, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Change the first tensor that a module receives."""
    if any(isinstance(argument, Tensor) for argument in args):
        return _replaced(args, change, site), kwargs
    names = sorted(kwargs, key=lambda name: name != "hidden_states")
    first = next((name for name in names if isinstance(kwargs[name], Tensor)), None)
    if first is None:
        raise CaptureError(f"{site}: the module at this site receives no tensor")
    return args, kwargs | {first: change(kwargs[first])}


def _after(change: Change, site: Site, _module: nn.Module, _args: Value, output: Value) -> Value:
    """Change the first tensor that a module returns."""
    return _replaced(output, change, site)


def _replaced(value: Value, change: Change, site: Site) -> Value:
    """A module's output or arguments with the first tensor changed: bare, or in a tuple, a list or a record."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        record = cast("dict[str, Any]", value)
        first = next((name for name, part in record.items() if isinstance(part, Tensor)), None)
        if first is not None:
            return type(record)(**{**record, first: change(record[first])})
    if isinstance(value, (tuple, list)):
        parts = list(cast("Sequence[Any]", value))
        place = next((index for index, part in enumerate(parts) if isinstance(part, Tensor)), None)
        if place is not None:
            parts[place] = change(parts[place])
            return parts if isinstance(value, list) else tuple(parts)
    raise CaptureError(f"{site}: the module at this site shows no tensor to edit")


@dataclass(frozen=True, slots=True, eq=False)
class FinalNorm:
    """A final norm taken apart: ``norm(x) = linear(x) / scale(x) + bias``. Make one with :func:`final_norm_of`.

    Attributes:
        module: the norm.
        centred: whether the scale is that of the coordinates less their mean (LayerNorm) or as they are (RMSNorm).
        epsilon: what the norm adds to the mean square.
        bias: what it gives for the zero vector.
    """

    module: nn.Module
    centred: bool
    epsilon: float
    bias: Tensor

    def scale(self, x: Tensor) -> Tensor:
        """Divisor of the norm, ``(..., 1)`` in float32."""
        wide = x.float()
        wide = wide - wide.mean(-1, keepdim=True) if self.centred else wide
        return (wide.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def with_scale(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm of ``x``, had its scale been another one; in float32."""
        return self.linear(x) / scale + self.bias

    def linear(self, x: Tensor) -> Tensor:
        """The gain, and for a LayerNorm the centring, without scale and bias; in float32."""
        weight = next(iter(self.module.parameters()), x)
        own = x.to(device_of(self.module), weight.dtype)
        with torch.inference_mode():
            shown = self.module(own).float() - self.bias
        return (shown * self.scale(own)).to(x.device)


def final_norm_of(model: LoadedModel) -> FinalNorm:
    """Take the final norm of a model apart, and check on random vectors that what is left of it is linear.

    Raises:
        InputError: if the model has no final norm, or one of another form.
    """
    site = Site(SiteKind.FINAL_NORM, model.n_layers)
    if site not in model.taps.points:
        raise InputError(f"{model.name} has no final norm: {model.lacks.get(SiteKind.FINAL_NORM, 'not found')}")
    if model.taps.points[site].calls > 1:
        raise InputError(f"{model.name}: its final norm also runs elsewhere in a pass, so its scale cannot be frozen")
    module = model.taps.points[site].module
    weight = next(iter(module.parameters()), torch.empty(0))
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 8, model.d_model, generator=rng).to(device_of(module), weight.dtype)
    epsilon = float(next((getattr(module, name) for name in EPSILONS if hasattr(module, name)), 0.0))
    tolerance = 1e-4 if weight.dtype == torch.float32 else 3e-2
    with torch.inference_mode():
        bias = module(torch.zeros_like(one[:1])).float()[0]
        for centred in (False, True):
            norm = FinalNorm(module, centred, epsilon, bias)
            unscaled = [(module(x).float() - bias) * norm.scale(x) for x in (one, other, one + other)]
            gap = (unscaled[0] + unscaled[1] - unscaled[2]).abs().max() / unscaled[2].abs().max()
            if float(gap) < tolerance:
                return norm
    raise InputError(f"{model.name}: its final norm is not a linear map over a scale, so its scale cannot be frozen")


@contextmanager
def frozen_scale(norm: FinalNorm, scale: Tensor) -> Generator[None]:
    """Let one forward pass end with the scale of another; ``scale`` has one row per token of the batch."""

    def refrozen(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        new = norm.scale(args[0]).reshape(-1, 1)
        shown = output.float().reshape(len(new), -1)
        kept = (shown - norm.bias) * (new / scale) + norm.bias
        return kept.to(output.dtype).reshape(output.shape)

    handle = norm.module.register_forward_hook(refrozen)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def recorded_scale(norm: FinalNorm, kept: list[Tensor]) -> Generator[None]:
    """Append the scale that a pass divides by, one row per token, to a list."""

    def record(_module: nn.Module, args: tuple[Any, ...]) -> None:
        kept.append(norm.scale(args[0]).reshape(-1, 1))

    handle = norm.module.register_forward_pre_hook(record)
    try:
        yield
    finally:
        handle.remove()
