"""What else people do to get the same table: the other ways to the default metrics of every token at every block.

Each is written as its users write it, and is a function without arguments that keeps all values. They are typed anew
from what their documentation says; none shares code with the collector except ``sparsity.profile`` where a row says
"the same metrics".
"""

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import sparsity
from probes.capture.prompts import pad
from probes.models import LoadedModel
from probes.vocabulary.prompt import Prompt

Run = Callable[[], object]


def comparators(model: LoadedModel, prompts: list[Prompt]) -> dict[str, Run]:
    """By what they are; the model itself is left as it is."""
    runs = {
        "output_hidden_states, numpy afterwards": lambda: hidden_states_then_numpy(model, prompts),
        "output_hidden_states, the same metrics afterwards": lambda: hidden_states_then_profile(model, prompts),
        "the seed paper's way: one prompt at a time, per-vector loops": lambda: one_vector_at_a_time(model, prompts),
        "TransformerLens run_with_cache, the same metrics": run_with_cache(model, prompts),
    }
    if importlib.util.find_spec("nnsight"):
        runs["nnsight trace, the same metrics"] = nnsight_trace(model, prompts)
    return runs


def hidden_states_then_numpy(model: LoadedModel, prompts: list[Prompt]) -> list[np.ndarray]:
    """Store every layer, then one vectorised formula per metric."""
    return [np.stack(naive(state.reshape(-1, state.shape[-1]).numpy())) for state in shown(model, prompts)]


def hidden_states_then_profile(model: LoadedModel, prompts: list[Prompt]) -> list[dict[str, torch.Tensor]]:
    """Store every layer, then one pass over each."""
    return [sparsity.profile(state) for state in shown(model, prompts)]


def shown(model: LoadedModel, prompts: list[Prompt]) -> tuple[torch.Tensor, ...]:
    """Block outputs as transformers shows them, the last one after the final norm."""
    ids, mask, _ = pad(prompts, model.pad_id)
    with torch.inference_mode():
        output: Any = model.base(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    return output.hidden_states[1:]


def naive(x: np.ndarray) -> list[np.ndarray]:
    """The default metrics, one formula after another."""
    d = x.shape[-1]
    a, energy = np.abs(x), x**2
    l1, l2 = a.sum(-1), energy.sum(-1)
    rank = np.arange(1, d + 1)
    p, q = a / l1[:, None], energy / l2[:, None]
    descending = np.sort(energy, axis=-1)[:, ::-1]
    return [
        ((2 * rank - d - 1) * np.sort(a, axis=-1)).sum(-1) / (d * l1),
        (d**0.5 - l1 / l2**0.5) / (d**0.5 - 1),
        descending[:, : int(0.05 * d)].sum(-1) / l2,
        descending[:, : int(0.1 * d)].sum(-1) / l2,
        np.exp(-(p * np.log(p)).sum(-1)) / d,
        np.exp(-(q * np.log(q)).sum(-1)) / d,
        l2**2 / (d * (energy**2).sum(-1)),
        l2**0.5,
    ]


def one_vector_at_a_time(model: LoadedModel, prompts: list[Prompt]) -> list[list[float]]:
    """Batch size one, the whole model with its logits, every layer stored, each vector measured by itself."""
    found: list[list[float]] = []
    for prompt in prompts:
        with torch.inference_mode():
            output: Any = model.module(torch.tensor([prompt.ids]), output_hidden_states=True)
        for state in output.hidden_states[1:]:
            for vector in state[0].float().numpy():
                a = np.abs(vector)
                d, ascending = len(a), np.sort(a)
                squares = np.sort(vector**2)[::-1]
                total, length = a.sum(), np.sqrt((vector**2).sum())
                shares, weights = a / total, vector**2 / (vector**2).sum()
                found.append(
                    [
                        2 * (np.arange(1, d + 1) * ascending).sum() / (d * total) - (d + 1) / d,
                        (np.sqrt(d) - total / length) / (np.sqrt(d) - 1),
                        squares[: max(1, int(0.05 * d))].sum() / squares.sum(),
                        squares[: max(1, int(0.1 * d))].sum() / squares.sum(),
                        np.exp(-(shares * np.log(shares + 1e-10)).sum()) / d,
                        np.exp(-(weights * np.log(weights + 1e-10)).sum()) / d,
                        (vector**2).sum() ** 2 / (vector**4).sum() / d,
                        length,
                    ]
                )
    return found


def run_with_cache(model: LoadedModel, prompts: list[Prompt]) -> Run:
    """Cache the output of every block of a bridge around a copy of the model, then measure."""
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    module = copy.deepcopy(model.module)
    bridge: Any = build_bridge_from_module(module, architecture=type(module).__name__, hf_config=module.config)
    ids, mask, _ = pad(prompts, model.pad_id)

    def run() -> list[dict[str, torch.Tensor]]:
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(
                ids,
                attention_mask=mask,
                names_filter=lambda name: name.endswith("hook_out") and name.count(".") == 2,
                use_cache=False,
                return_type=None,
                logits_to_keep=1,
            )
        return [sparsity.profile(state) for state in cache.values()]

    return run


def nnsight_trace(model: LoadedModel, prompts: list[Prompt]) -> Run:
    """Save the output of every block inside a trace, then measure."""
    nnsight: Any = importlib.import_module("nnsight")
    module = copy.deepcopy(model.module)
    traced = nnsight.NNsight(module.base_model)
    ids, mask, _ = pad(prompts, model.pad_id)

    def run() -> list[dict[str, torch.Tensor]]:
        with torch.inference_mode(), traced.trace(ids, attention_mask=mask, use_cache=False):
            states = nnsight.save([])
            for block in traced.h if hasattr(module.base_model, "h") else traced.layers:
                states.append(block.output[0] if isinstance(block.output, tuple) else block.output)
        return [sparsity.profile(state) for state in states]

    return run
