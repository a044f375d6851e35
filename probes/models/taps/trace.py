"""One short forward pass of a model with every module's input and output kept, from which sites can be derived.

What a module "receives" and "returns" means the same here as where sites are watched
(:mod:`probes.models.hooks`): the first tensor of the call, ``hidden_states`` before all others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from probes.errors import InputError
from probes.models.devices import device_of
from probes.models.taps.table import Config

TOKENS: Final = 8  # of the prompt that is traced
WRAPPED: Final = "._original_component"  # a bridge of TransformerLens stands in the place of each module, and calls it
NOTHING: Final = torch.empty(0, 0)
Value = Any  # a module may take and return anything


def received(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The first tensor that a module receives, ``hidden_states`` before other keywords; None if there is none."""
    return first_tensor((*args, kwargs.get("hidden_states"), *kwargs.values()))


def first_tensor(value: Value) -> Tensor | None:
    """The tensor of a module's input or output: bare, or the first in a tuple, a list or an output record."""
    if isinstance(value, Tensor):
        return value
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).values()
    elif isinstance(value, (tuple, list)):
        parts = cast("Sequence[Any]", value)
    return next((part for part in parts if isinstance(part, Tensor)), None)


@dataclass(slots=True, eq=False)
class Call:
    """One call of one module.

    Attributes:
        path: dotted path below the model's text part.
        module: what was called.
        given: what it received, ``(tokens, width)``; empty if that has no row per token.
        gave: what it returned, likewise.
        start: place of the call among all beginnings and ends of calls.
        end: place of its return.
        shape: shape of the output as it is.
    """

    path: str
    module: nn.Module
    given: Tensor
    start: int
    gave: Tensor = NOTHING
    end: int = -1
    shape: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Number of modules between it and the model's text part."""
        return self.path.count(".")

    @property
    def is_linear(self) -> bool:
        """True if it multiplies by one matrix of its own and holds no other module."""
        weight = getattr(self.module, "weight", None)
        return isinstance(weight, Tensor) and weight.ndim == 2 and not any(True for _ in self.module.children())

    @property
    def is_plain(self) -> bool:
        """True if it has no matrix: a norm, an activation function, a dropout."""
        return all(parameter.ndim < 2 for parameter in self.module.parameters())

    @property
    def is_idle(self) -> bool:
        """True if it returns its input: a dropout while evaluating, a point for the hooks of others."""
        empty = not any(True for _ in self.module.parameters()) and not any(True for _ in self.module.children())
        return empty and bool(self.given.numel()) and torch.equal(self.given, self.gave)


def trace(base: nn.Module, text: nn.Module, config: Config) -> tuple[list[Call], Tensor]:
    """Run a few tokens through a model and keep what every module of its text part receives and returns.

    Args:
        base: the model without its head.
        text: its text part: ``base`` itself, or the language model of one that also sees.
        config: configuration of the text part.

    Returns:
        The calls in the order in which they began, and the model's last hidden state ``(tokens, width)``.

    Raises:
        InputError: if it cannot be run on token ids alone.
    """
    ids = _ids(base, config)
    record = _Record()
    with ExitStack() as hooks:
        for name, module in cast("Iterable[tuple[str, nn.Module]]", text.named_modules()):
            path = name.replace(WRAPPED, "")
            if not path or isinstance(module, nn.ModuleList):
                continue
            hooks.callback(module.register_forward_pre_hook(partial(record.begin, path), with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(record.end).remove)
        try:
            with torch.inference_mode():
                output: Any = base(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        except Exception as error:  # whatever stops a model that strangers wrote
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{type(base).__name__} cannot be run on token ids alone: {reason}") from error
    return [call for call in record.calls if not call.is_idle], _rows(output.last_hidden_state)


class _Record:
    """Calls in the order in which they begin, and those that have not returned yet."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._open: dict[nn.Module, list[Call]] = {}
        self._clock = itertools.count()

    def begin(self, path: str, own: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        call = Call(path, own, _rows(received(args, kwargs)), next(self._clock))
        self.calls.append(call)
        self._open.setdefault(own, []).append(call)

    def end(self, own: nn.Module, _args: Value, output: Value) -> None:
        """A module returns."""
        call = self._open[own].pop()
        shown = first_tensor(output)
        call.gave, call.end = _rows(shown), next(self._clock)
        call.shape = () if shown is None else tuple(shown.shape)


def _ids(base: nn.Module, config: Config) -> Tensor:
    """A few token ids of no meaning, none of which stands for an image, a sound or an end."""
    owner: Any = base
    settings: dict[str, Any] = {**owner.config.to_dict(), **config.to_dict()}
    special = {value for name, value in settings.items() if name.endswith(("_token_id", "_token_index"))}
    embedding: Any = owner.get_input_embeddings()
    words = [token for token in range(min(int(embedding.weight.shape[0]), 64)) if token not in special]
    chosen = [words[index * 7 % len(words)] for index in range(TOKENS)]
    return torch.tensor([chosen], device=device_of(embedding))


def _rows(shown: Tensor | None) -> Tensor:
    """A copy with one row per token, whatever the axes before it; empty if it has no such form."""
    if shown is None or not shown.is_floating_point() or shown.ndim < 2 or shown.shape[:-1].numel() != TOKENS:
        return NOTHING
    return shown.detach().reshape(TOKENS, -1).cpu().clone()
