"""Sparsity while the model writes.

The model goes on from each prompt, one token per pass, and every token it writes is read by the next pass with hooks
on. Row ``token = t`` holds the state after reading token t, as everywhere: the state that chose the first new token is
that of the last prompt token (position ``last``), and the last new token is read too, so that every new token has a
row. Keys and values are kept between passes; prompts of different lengths run together, padded on the left under a
mask, with positions of their own. All of it agrees with one pass over the finished text, which a test asserts family
by family; families whose cache does not read the whole text again for each token
(:mod:`probes.capture.generation.continuation`).

A token is the most likely one, or drawn from the model's own distribution, neither cooled nor cut off. Draws are made
per prompt and step before anything runs, so the batch size does not change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.collection import melt
from probes.capture.generation.continuation import Continued, Remembering, Rereading, feed_of
from probes.capture.prompts import encode_all
from probes.capture.reading import RAW, Pick, Picks, Profiler, Reading
from probes.errors import InputError
from probes.models.hooks import watching
from probes.models.loading import LoadedModel, Output, load_model
from probes.models.templates import PromptError, Template
from probes.models.tokens import BosPolicy, special_id
from probes.vocabulary.positions import SELECTORS, Selector
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity import MetricSpec, parse_metrics

WRITTEN: Final = Selector("generated", lambda prompt: range(prompt.end, len(prompt.ids)), each=True)


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Texts that a model wrote, with the measurements of its states while it wrote them.

    Attributes:
        measurements: the columns of :func:`probes.capture.collection`; position ``last`` is the last prompt token,
            ``generated`` each new one.
        tokens: one row per new token: ``example_id``, ``token`` (index in prompt and continuation together, as in
            ``measurements``), ``token_id``, ``text`` (``""`` without a tokenizer), ``surprisal`` (bits, of the token
            given everything before it) and ``next_token_entropy`` (nats, after reading it).
        texts: what was written after each prompt, special tokens left out; ``""`` without a tokenizer.
    """

    measurements: pd.DataFrame
    tokens: pd.DataFrame
    texts: tuple[str, ...]


class Draws(NamedTuple):
    """Random numbers from which tokens are sampled: one per prompt and step, or None for the most likely token."""

    uniform: Float64[Tensor, "prompts steps"] | None

    @classmethod
    def of(cls, sample: torch.Generator | int | None, prompts: int, steps: int) -> Draws:
        """Draw everything that a generation needs."""
        if sample is None:
            return cls(None)
        generator = torch.Generator().manual_seed(sample) if isinstance(sample, int) else sample
        return cls(torch.rand(prompts, steps, generator=generator, dtype=torch.float64, device=generator.device).cpu())

    def choose(self, log_p: Float64[Tensor, "live vocabulary"], items: Sequence[int], step: int) -> list[int]:
        """The next token of some prompts."""
        if self.uniform is None:
            return [int(token) for token in log_p.argmax(-1)]
        below = log_p.exp().cumsum(-1)
        mark = self.uniform[list(items), step].unsqueeze(-1) * below[:, -1:]
        drawn = torch.searchsorted(below, mark, right=True).squeeze(-1).clamp(max=log_p.shape[-1] - 1)
        return [int(token) for token in drawn]


def collect_generation(
    model: object,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    sites: str | Sequence[str] = ("resid_post",),
    metrics: str | Sequence[str] = "default",
    *,
    max_new_tokens: int,
    sample: torch.Generator | int | None = None,
    max_tokens: int | None = None,
    batch_size: BatchSize = "auto",
    bos: BosPolicy = "auto",
    template: Template = "none",
) -> Generation:
    """Let a model go on from some prompts and measure every token it writes.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes; it has to predict the next token.
        prompts: texts, or lists of token ids.
        sites: e.g. ``["resid_post", "final_norm"]``; a bare kind means all its layers.
        metrics: names as in ``sparsity list metrics``; ``default`` for the default set.
        max_new_tokens: how many tokens to write at most; an end-of-sequence token ends a text earlier and is measured.
        sample: None writes the most likely token; a generator, or the seed of one, draws from the distribution.
        max_tokens: cut prompts to this many tokens, BOS included.
        batch_size: prompts per forward pass; it changes no value.
        bos: what to do about the beginning-of-sequence token.
        template: ``chat`` puts each text into the tokenizer's chat template.

    Returns:
        Measurements, tokens and texts.

    Raises:
        PromptError: naming the first prompt that cannot be read, or that leaves no room for the new tokens.
        InputError: for a model that writes no text, or a site or setting that it cannot serve.
    """
    loaded = load_model(model)
    if not loaded.is_causal or loaded.module.config.is_encoder_decoder:
        raise InputError(
            f"{loaded.name} ({type(loaded.module).__name__}) cannot continue a prompt; hand in a causal language model"
        )
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    asked = resolve_sites(loaded, [sites] if isinstance(sites, str) else sites)
    specs = parse_metrics([metrics] if isinstance(metrics, str) else metrics)
    encoded = encode_all(loaded, prompts, max_tokens=max_tokens, bos=bos, template=template)
    _check_room(loaded, encoded, max_new_tokens)
    draws = Draws.of(sample, len(encoded), max_new_tokens)
    found: list[tuple[Reading, np.ndarray]] = []
    written: dict[int, Continued] = {}
    for indices in plan_batches([len(prompt.ids) for prompt in encoded], batch_size):
        texts = [Continued(encoded[index]) for index in indices]
        own = Draws(None if draws.uniform is None else draws.uniform[indices])
        writer = _Writer(loaded, texts, feed_of(loaded, texts), asked, specs)
        readings = _write(writer, own, max_new_tokens)
        found += [(reading, np.array(indices)[reading.item]) for reading in readings]
        written.update(zip(indices, texts, strict=True))
    texts = [written[index] for index in range(len(encoded))]
    return Generation(
        melt(loaded, found, specs, len(encoded)),
        _token_rows(loaded, texts),
        tuple(_decoded(loaded, text.new, skip_special=True) for text in texts),
    )


class _Writer(NamedTuple):
    """Model, texts, sites and metrics that all passes of a batch share."""

    model: LoadedModel
    texts: Sequence[Continued]
    feed: Remembering | Rereading
    sites: Sequence[Site]
    metrics: Sequence[MetricSpec]

    def run(self, live: Sequence[int], selector: Selector) -> tuple[list[Reading], Float64[Tensor, "live vocabulary"]]:
        """One pass: what it shows of the newest token of each live text, and log-probabilities of what follows."""
        inputs = self.feed.inputs()
        item = np.array(live, dtype=np.int32)
        newest = inputs.newest[item]
        token = np.array([len(self.texts[i].prompt.ids) + len(self.texts[i].new) - 1 for i in live], dtype=np.int32)
        picks = Picks(newest, (Pick(selector, item, token, np.arange(len(item))),))
        profiler = Profiler(self.model.taps, picks, self.metrics, (RAW,), len(self.texts), self.sites)
        with torch.inference_mode(), watching(self.model.taps, self.sites, profiler.look, rows=inputs.tokens):
            output: Output = self.model.base(**inputs.arguments)
        self.feed.keep(output)
        logits = self.model.logits(output, torch.from_numpy(newest)).cpu().double()
        return list(profiler.readings()), logits.log_softmax(-1)


def _write(writer: _Writer, draws: Draws, steps: int) -> list[Reading]:
    """Write one batch, filling its texts in."""
    ends = _end_ids(writer.model)
    live = list(range(len(writer.texts)))
    found, log_p = writer.run(live, SELECTORS["last"])
    for step in range(steps):
        for item, token, own in zip(live, draws.choose(log_p, live, step), log_p, strict=True):
            writer.texts[item].add(token, float(own[token]))
        writer.feed.advance()
        readings, log_p = writer.run(live, WRITTEN)
        found += readings
        p = log_p.exp()
        for item, nats in zip(live, -torch.xlogy(p, p).sum(-1), strict=True):
            writer.texts[item].entropy.append(float(nats))
        going = [row for row, item in enumerate(live) if writer.texts[item].new[-1] not in ends]
        live, log_p = [live[row] for row in going], log_p[going]
        if not live:
            break
    return found


def _end_ids(model: LoadedModel) -> frozenset[int]:
    """The tokens that end a text."""
    settings: Any = model.module.generation_config
    asked = getattr(settings, "eos_token_id", None)
    if asked is None and model.tokenizer is not None:
        asked = special_id(model.tokenizer, "eos")
    return frozenset([] if asked is None else [asked] if isinstance(asked, int) else asked)


def _check_room(model: LoadedModel, prompts: Sequence[Prompt], steps: int) -> None:
    """Refuse prompts after which the context has no room for the new tokens."""
    for index, prompt in enumerate(prompts):
        if model.context_length is not None and len(prompt.ids) + steps > model.context_length:
            raise PromptError(
                f"prompt {index}: {len(prompt.ids)} tokens and {steps} new ones, but {model.name} reads at most "
                f"{model.context_length}; set max_tokens to cut prompts"
            )


def _token_rows(model: LoadedModel, texts: Sequence[Continued]) -> pd.DataFrame:
    """One row per new token."""
    rows = [
        (str(index), len(text.prompt.ids) + step, token, _decoded(model, [token]), surprisal, entropy)
        for index, text in enumerate(texts)
        for step, (token, surprisal, entropy) in enumerate(zip(text.new, text.surprisal, text.entropy, strict=True))
    ]
    columns = ["example_id", "token", "token_id", "text", "surprisal", "next_token_entropy"]
    return pd.DataFrame(rows, columns=columns).astype({"token": np.int32, "token_id": np.int64})


def _decoded(model: LoadedModel, ids: Sequence[int], *, skip_special: bool = False) -> str:
    """Token ids as text, ``""`` without a tokenizer."""
    if model.tokenizer is None:
        return ""
    tokenizer: Any = model.tokenizer
    return str(tokenizer.decode(list(ids), skip_special_tokens=skip_special))
