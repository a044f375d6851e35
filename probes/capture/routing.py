"""Routing of a mixture of experts: router entropy, load of each expert, and share of the experts that a token uses.

A mixture is sparse by construction: k of E experts run for each token, whatever the input. An input can change which
ones, how certain the choice is, and how the weight is spread over the k. Those are measures of routing, not of a
vector, so they have a table of their own. They are read off what each router returns (logits, weights and indices of
the chosen), so that a family's own way of choosing (softmax or sigmoid, groups, correction biases) is not retyped here.

========================= ============================================================================ ================
metric                    what                                                                         range
========================= ============================================================================ ================
``router_entropy``        mean over tokens, nats, of the softmax of all router logits                  0 (one expert is
                                                                                                       certain) .. ln E
``expert_density``        mean over tokens of exp(entropy of the weights of the chosen) / E: the share 1/E .. k/E
                          of the experts that a token's weight is spread over
``expert_load``           share of the tokens that expert ``unit`` was chosen for; sums to k           0 .. 1
``load_evenness``         exp(entropy of the loads) / E                                                1/E .. 1 (even)
``unused_experts``        share of the experts that no token chose                                     0 .. 1 - k/E
========================= ============================================================================ ================

Intervals are percentiles over resampled prompts, for tokens of one prompt are routed alike; ``load_evenness`` and
``unused_experts`` depend on how many tokens there are, so compare equal numbers.

DeepSeek-V3 scores experts by sigmoids of its logits; the softmax is then a summary of them, not what it draws weights
from. Router entropy is about the choice among all experts, density about the weights of the chosen ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.prompts import encode_all, pad
from probes.errors import InputError
from probes.models.hooks import CaptureError, Value
from probes.models.loading import LoadedModel, load_model
from probes.models.tokens import BosPolicy
from probes.vocabulary import names
from probes.vocabulary.positions import Asked, Selector, parse_position
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, SiteKind, resolve_sites

RESAMPLES: Final = 1000
INTERVAL: Final = (2.5, 97.5)


@dataclass(slots=True)
class _Tally:
    """Sums for one router over the picked tokens of each prompt."""

    counts: Float64[np.ndarray, "prompts experts"]
    entropy: Float64[np.ndarray, " prompts"]
    density: Float64[np.ndarray, " prompts"]


def collect_routing(
    model: object,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    position: Asked = "all",
    *,
    group: str = "all",
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
    seed: int = 0,
) -> pd.DataFrame:
    """Measures of routing over the tokens of some prompts.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes, with a mixture of experts.
        prompts: texts, or lists of token ids.
        position: which tokens; where a selector averages, the tokens that it averages over.
        group: what the prompts are called in the table.
        max_tokens: cut prompts to this many tokens, BOS included.
        batch_size: prompts per forward pass.
        bos: what to do about the beginning-of-sequence token.
        seed: of the resampling behind the intervals.

    Returns:
        The columns of the ``populations`` table, one row per layer and metric (and expert, for ``expert_load``);
        ``n_vectors`` is the number of tokens.

    Raises:
        PromptError: naming the first prompt that cannot be read.
        InputError: if the model has no routers, or no token was picked.
        CaptureError: if a router did not show its choice of experts, once per pass and for every token.
    """
    loaded = load_model(model)
    selector = parse_position(position, loaded.word)
    encoded = encode_all(loaded, prompts, max_tokens=max_tokens, bos=bos)
    sites = resolve_sites(loaded, [str(SiteKind.ROUTER_LOGITS)])
    return measure_routing(loaded, encoded, selector, sites, group=group, batch_size=batch_size, seed=seed)


def measure_routing(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    selector: Selector,
    sites: Sequence[Site],
    *,
    group: str,
    batch_size: BatchSize = "auto",
    seed: int = 0,
) -> pd.DataFrame:
    """The same of encoded prompts, at some routers. Arguments and errors as :func:`collect_routing`."""
    picked = [np.asarray(selector.pick(prompt), dtype=np.int64) for prompt in prompts]
    tokens = np.array([len(own) for own in picked], dtype=np.float64)
    if not tokens.any():
        raise InputError(f"position {selector.name!r} picks no token of any prompt")
    tallies = {
        site: _Tally(np.zeros((len(prompts), 0)), np.zeros(len(prompts)), np.zeros(len(prompts))) for site in sites
    }
    for indices in plan_batches([len(prompt.ids) for prompt in prompts], batch_size):
        _read(model, [prompts[index] for index in indices], [picked[index] for index in indices], indices, tallies)
    weights = _resampled(len(prompts), seed)
    rows = [row for site, tally in tallies.items() for row in _rows(site, tally, tokens, weights)]
    frame = pd.DataFrame(rows, columns=["site", "layer", "unit", "metric", "value", "ci_low", "ci_high"])
    frame = frame.assign(
        run_id=model.fingerprint[:16],
        group=group,
        basis=names.ROUTING,
        position=selector.name,
        n_vectors=int(tokens.sum()),
    )
    order = ["run_id", "group", "site", "layer", "unit", "basis", "position", "metric", "value", "ci_low", "ci_high"]
    return frame[[*order, "n_vectors"]]


def _read(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    picked: Sequence[np.ndarray],
    indices: Sequence[int],
    tallies: dict[Site, _Tally],
) -> None:
    """Run one batch with every router watched, and add up what it shows."""
    batch = pad(prompts, model.pad_id)
    longest = batch.ids.shape[1]
    rows = torch.from_numpy(np.concatenate([item * longest + own for item, own in enumerate(picked)]))
    owner = np.repeat(np.array(indices), [len(own) for own in picked])
    shown: dict[Site, list[tuple[Tensor, Tensor, Tensor]]] = {site: [] for site in tallies}
    with ExitStack() as hooks:
        for site in tallies:
            hook = partial(_show, site, batch.ids.numel(), shown[site])
            hooks.callback(model.taps.points[site].module.register_forward_hook(hook).remove)
        model.run(batch)
    for site, tally in tallies.items():
        if len(shown[site]) != 1:
            raise CaptureError(f"each router must be seen once per pass, but {site} was seen {len(shown[site])} times")
        logits, weights, chosen = (part[rows.to(part.device)].cpu() for part in shown[site][0])
        experts = logits.shape[-1]
        if not tally.counts.shape[1]:
            tally.counts = np.zeros((len(tally.entropy), experts))
        used = torch.zeros(len(rows), experts, dtype=torch.float64).scatter_(1, chosen, 1.0)
        shares = weights.double() / weights.double().sum(-1, keepdim=True)
        np.add.at(tally.counts, owner, used.numpy())
        np.add.at(tally.entropy, owner, _entropy(logits.double().softmax(-1)))
        np.add.at(tally.density, owner, np.exp(_entropy(shares)) / experts)


def _show(
    site: Site, tokens: int, shown: list[tuple[Tensor, Tensor, Tensor]], _module: nn.Module, _args: Value, output: Value
) -> None:
    """Take logits, weights and indices of the chosen from what a router returns."""
    parts = list(cast("Sequence[Any]", output)) if isinstance(output, tuple) else []
    tensors = [part.detach().reshape(-1, part.shape[-1]) for part in parts if isinstance(part, Tensor)]
    if len(tensors) != 3 or tensors[2].dtype.is_floating_point or any(len(part) != tokens for part in tensors):
        raise CaptureError(f"{site}: this router does not return logits, weights and indices of {tokens} tokens")
    shown.append((tensors[0], tensors[1], tensors[2]))


def _entropy(shares: Tensor) -> np.ndarray:
    """Nats of each row of shares."""
    return -torch.xlogy(shares, shares).sum(-1).numpy()


def _resampled(prompts: int, seed: int) -> Float64[np.ndarray, "resamples prompts"]:
    """Times that each prompt occurs in each resample: once each in the first row, drawn with replacement below."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES)
    return np.vstack([np.ones(prompts), drawn])


def _rows(
    site: Site,
    tally: _Tally,
    tokens: Float64[np.ndarray, " prompts"],
    weights: Float64[np.ndarray, "resamples prompts"],
) -> list[tuple[str, int, int, str, float, float, float]]:
    """The table of one router, without what all routers share."""
    total = weights @ tokens
    kept = total > 0
    weights, total = weights[kept], total[kept]
    load = (weights @ tally.counts) / total[:, None]
    share = load / load.sum(1, keepdims=True)
    entropy = -np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0).sum(1)
    measures: list[tuple[int, str, np.ndarray]] = [
        (-1, "router_entropy", (weights @ tally.entropy) / total),
        (-1, "expert_density", (weights @ tally.density) / total),
        (-1, "load_evenness", np.exp(entropy) / load.shape[1]),
        (-1, "unused_experts", (load == 0).mean(1)),
        *((expert, "expert_load", load[:, expert]) for expert in range(load.shape[1])),
    ]
    rows: list[tuple[str, int, int, str, float, float, float]] = []
    for unit, metric, values in measures:
        low, high = np.percentile(values[1:], INTERVAL).tolist()
        rows.append((site.name, site.layer, unit, metric, float(values[0]), low, high))
    return rows
