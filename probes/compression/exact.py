"""A Llama in arithmetic that does not depend on order: the same bits for any batch, length, thread count and machine.

What transformers computes in float32 is computed here in float64 on grids (:mod:`probes.compression.grids`): every sum
(products with weights, scores and values of attention, squares, exponentials) is of numbers that were rounded to so few
bits that it is exact. Rounding keeps 21 to 24 bits of each factor, as float32 does, so the code lengths of texts change
in the sixth digit or later. Because nothing depends on how much is read at once, a writer may read many positions in
one pass and a reader one by one.

Not here: architectures other than Llama's, scaled rotary positions, biases. They are refused.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor
from transformers import LlamaForCausalLM

from probes.compression.grids import (
    MANTISSA,
    SCORE_BITS,
    SHARE_BITS,
    angles,
    bits_for,
    exp_below_zero,
    exponent_above,
    norms,
    on_grid,
    on_row_grid,
    share_table,
    weights_of,
)
from probes.compression.reading import Totals, Window, start_of
from probes.errors import InputError
from probes.models.loading import LoadedModel

STRIDE: Final = 8
MOST_WEIGHTS: Final = 40_000_000
"""Weights of the largest model of the laboratory, with its vocabulary; float64 makes larger ones slow."""


class _Layer(NamedTuple):
    """Weights of a block, transposed and on their grids."""

    attention_gain: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    value_step: float
    attention_out: Tensor
    mlp_gain: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


class ExactLlama:
    """A Llama that reads rows of tokens order-exactly.

    Args:
        model: the loaded model.

    Raises:
        InputError: if it is no plain Llama, or larger than what this is for.
    """

    def __init__(self, model: LoadedModel) -> None:
        module = model.module
        config: Any = module.config
        _refuse_unknown(model, config)
        self.vocabulary = model.vocabulary
        self.stride = STRIDE
        self._device = model.device
        self._epsilon = float(config.rms_norm_eps)
        self._heads = int(config.num_attention_heads)
        self._groups = int(config.num_key_value_heads)
        self._width = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        body: Any = cast("Any", module).model
        self._embedding = cast("Tensor", body.embed_tokens.weight).detach().double()
        longest = model.context_length or int(config.max_position_embeddings)
        self._layers = [_layer(block, self._width, longest) for block in cast("list[Any]", body.layers)]
        self._shares = share_table().to(self._device)
        self._gain = cast("Tensor", body.norm.weight).detach().double()
        self._head = _on_grid(cast("Any", module).lm_head.weight)
        self._window = Window(model.context_length, start_of(model))
        base = float(config.rope_parameters["rope_theta"])
        self._cosines, self._sines = (table.to(self._device) for table in angles(longest, self._width // 2, base))
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._n_read = 0

    @property
    def room(self) -> int:
        """Positions that can be read at once now."""
        return self._window.room

    def begin(self, n_rows: int) -> Float64[Tensor, "rows 1 vocabulary"]:
        """Forget what was read, and read the token that begins a text; without one all symbols are equally likely."""
        self._window.clear()
        self._forget(n_rows)
        if self._window.start is None:
            return torch.zeros((n_rows, 1, self.vocabulary), dtype=torch.float64, device=self._device)
        return self.read(torch.full((n_rows, 1), self._window.start))

    def read(self, ids: Int[Tensor, "rows times"]) -> Float64[Tensor, "rows times vocabulary"]:
        """Read on in every row."""
        turn = self._window.take(ids)
        if turn.anew:
            self._forget(len(ids))
        with torch.inference_mode():
            x = self._embedding[turn.ids.to(self._device)]
            for index, layer in enumerate(self._layers):
                x = x + self._attend(index, layer, self._normed(x, layer.attention_gain))
                x = x + _mlp(layer, self._normed(x, layer.mlp_gain))
            self._n_read += turn.ids.shape[1]
            return _product(self._normed(x[:, -ids.shape[1] :], self._gain), self._head)

    def weigh(self, logits: Float64[Tensor, "rows symbols"], out: Float64[np.ndarray, "rows symbols"]) -> Totals:
        """Exponentials on a grid."""
        weights = weights_of(logits)
        torch.from_numpy(out).copy_(weights)
        return weights.sum(-1).cpu().numpy()

    def _forget(self, n_rows: int) -> None:
        shape = (n_rows, self._groups, 0, self._width)
        self._keys = [torch.empty(shape, dtype=torch.float64, device=self._device) for _ in self._layers]
        self._values = list(self._keys)
        self._n_read = 0

    def _normed(self, x: Float64[Tensor, "rows times d"], gain: Float64[Tensor, " d"]) -> Tensor:
        """Root-mean-square norm."""
        squares = on_row_grid(x, bits_for(x.shape[-1])).square_().sum(-1, keepdim=True)
        return x / (squares / x.shape[-1] + self._epsilon).sqrt_() * gain

    def _attend(self, index: int, layer: _Layer, x: Float64[Tensor, "rows times d"]) -> Tensor:
        rows, times, _ = x.shape
        x = on_row_grid(x, bits_for(x.shape[-1]))
        bits = bits_for(self._width)
        queries = on_row_grid(self._turned(self._split(x @ layer.queries)), bits)
        keys = self._kept(self._keys, index, on_row_grid(self._turned(self._split(x @ layer.keys)), bits))
        values = self._kept(self._values, index, on_grid(self._split(x @ layer.values), layer.value_step))
        # query heads that share keys are rows of one product
        asked = queries.reshape(rows, self._groups, -1, self._width)
        scores = (asked @ keys.transpose(-1, -2)).view(rows, self._heads, times, -1)
        if times > 1:
            later = torch.ones(times, keys.shape[2], dtype=torch.bool, device=x.device).triu_(self._n_read + 1)
            scores.masked_fill_(later, -math.inf)
        below = torch.sub(scores.amax(-1, keepdim=True), scores, out=scores).clamp_(max=len(self._shares) - 1)
        shares = self._shares.index_select(0, below.int().view(-1)).view(rows, self._groups, -1, keys.shape[2])
        mixed = (shares @ values) / shares.sum(-1, keepdim=True)
        mixed = mixed.view(rows, self._heads, times, self._width).transpose(1, 2).reshape(rows, times, -1)
        return _product(mixed, layer.attention_out)

    def _split(self, x: Float64[Tensor, "rows times all"]) -> Float64[Tensor, "rows heads times width"]:
        return x.view(*x.shape[:2], -1, self._width).transpose(1, 2)

    def _turned(self, x: Float64[Tensor, "rows heads times width"]) -> Float64[Tensor, "rows heads times width"]:
        """Rotary positions: coordinate i and coordinate i + width / 2 are turned together."""
        places = slice(self._n_read, self._n_read + x.shape[2])
        cosines, sines = self._cosines[places], self._sines[places]
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)

    def _kept(self, kept: list[Tensor], index: int, new: Float64[Tensor, "rows groups times width"]) -> Tensor:
        """Append to the cached keys or values, in memory that grows by doubling, and return those of all positions."""
        end = self._n_read + new.shape[2]
        if kept[index].shape[2] < end:
            grown = torch.empty(
                (*new.shape[:2], max(end, 2 * kept[index].shape[2]), self._width), dtype=new.dtype, device=new.device
            )
            grown[:, :, : self._n_read] = kept[index][:, :, : self._n_read]
            kept[index] = grown
        kept[index][:, :, self._n_read : end] = new
        return kept[index][:, :, :end]


def _mlp(layer: _Layer, x: Float64[Tensor, "rows times d"]) -> Float64[Tensor, "rows times d"]:
    """Gated by x / (1 + exp(-x))."""
    x = on_row_grid(x, bits_for(x.shape[-1]))
    gate = x @ layer.gate
    small = exp_below_zero(-gate.abs())
    gate *= torch.where(gate >= 0, 1.0, small) / (small + 1.0)
    return _product(gate * (x @ layer.up), layer.down)


def _product(x: Float64[Tensor, "*rows terms"], weights: Float64[Tensor, "terms out"]) -> Float64[Tensor, "*rows out"]:
    """A matrix product none of whose sums is rounded."""
    return on_row_grid(x, bits_for(x.shape[-1])) @ weights


def _on_grid(weight: Tensor) -> Float64[Tensor, "terms out"]:
    """A weight matrix for :func:`_product`: every output on a grid of its own."""
    own = weight.detach().double()
    return on_row_grid(own, bits_for(own.shape[-1])).T.contiguous()


def _layer(block: Any, width: int, longest: int) -> _Layer:  # noqa: ANN401  modules of transformers are typed in part
    attention, mlp = block.self_attn, block.mlp
    gain = cast("Tensor", block.input_layernorm.weight).detach().double()
    queries = cast("Tensor", attention.q_proj.weight).detach().double()
    values = cast("Tensor", attention.v_proj.weight).detach().double()
    # after the norm a row is no longer than sqrt(d) before its gain, which bounds every value by its weights' length
    bound = 1.01 * math.sqrt(values.shape[1]) * norms(values * gain).max().item()
    value_bits = MANTISSA - SHARE_BITS - longest.bit_length()
    return _Layer(
        attention_gain=gain,
        queries=_on_grid(queries * (2.0**SCORE_BITS / math.sqrt(width))),
        keys=_on_grid(attention.k_proj.weight),
        values=_on_grid(values),
        value_step=2.0 ** (exponent_above(bound) - value_bits),
        attention_out=_on_grid(attention.o_proj.weight),
        mlp_gain=cast("Tensor", block.post_attention_layernorm.weight).detach().double(),
        gate=_on_grid(mlp.gate_proj.weight),
        up=_on_grid(mlp.up_proj.weight),
        down=_on_grid(mlp.down_proj.weight),
    )


def _refuse_unknown(model: LoadedModel, config: Any) -> None:  # noqa: ANN401  as above
    """Refuse what has no order-exact form here."""
    if type(model.module) is not LlamaForCausalLM:
        why = f"it is a {type(model.module).__name__}"
    elif config.rope_parameters.get("rope_type", "default") != "default":
        why = f"its rotary positions are scaled ({config.rope_parameters['rope_type']})"
    elif config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
        why = "it has biases, or an activation other than silu"
    elif (n_weights := model.module.num_parameters()) > MOST_WEIGHTS:
        why = f"it has {n_weights:,} weights, more than {MOST_WEIGHTS:,}"
    else:
        return
    raise InputError(
        f"exact mode is for Llama models of the laboratory's size, and not for {model.name}: {why}; use --mode lockstep"
    )
