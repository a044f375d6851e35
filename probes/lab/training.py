"""Train a small Llama on a world of facts, so that the number of times it saw each fact is known.

Problem. A claim about familiarity needs a model whose training stream can be counted to the last presentation, and that
anyone with two cores can train again to the same weights.

Idea. The recipe says everything: its seed is split into independent streams for the world, for the order of
presentations and for the initial weights. Training is plain: float32 on the CPU, AdamW, a learning rate that rises
linearly and then stays (a decay would end somewhere, and what happens there would look like a property of the facts
seen last), one pass over the stream, every presentation weighing the same. The same recipe, machine and number of
threads give the same weights.

Non-goals: speed, search for a learning rate, models that generalise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from probes.errors import InputError
from probes.lab.optimizers import build_update
from probes.lab.recipe import Objective, Recipe
from probes.lab.record import TrainingRecord, write_record
from probes.lab.vocabulary import BOS, PAD, SPECIAL_TOKENS, build_tokenizer
from probes.lab.world import World, build_world, draw_stream, split_batches

OnStep = Callable[[int, int, float], None]
"""Called after every optimizer step with the steps done, the steps in all and the loss of this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """What `train` made.

    Attributes:
        module: the trained model, in evaluation mode.
        tokenizer: its tokenizer.
        record: its world and how it was trained.
        path: the directory that holds all three.
    """

    module: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    record: TrainingRecord
    path: Path


def train(recipe: Recipe, out: Path, *, on_step: OnStep | None = None) -> TrainedModel:
    """Train the model of a recipe and write it to `out`, whole or not at all.

    `out` then holds a Hugging Face model (config.json, model.safetensors, tokenizer files) and ``world.json``: the
    facts, how often and when they were presented, and which of them the model knows (`probes.lab.record.read_record`).

    Args:
        recipe: world, architecture and optimisation.
        out: a directory that does not exist yet or is empty.
        on_step: told of every step, for a progress bar.

    Raises:
        InputError: if `out` is in use, or the recipe asks for a world that cannot be built.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"a model is written to a new or empty directory, but {out} is in use: name another one")
    world_rng, stream_rng, weights_rng = np.random.default_rng(recipe.seed).spawn(3)
    world = build_world(world_rng, multiples=recipe.multiples, unit=recipe.unit, n_tails=recipe.n_tails)
    tokenizer = build_tokenizer(world.words)
    sentences = encode_sentences(tokenizer, world)
    module = build_model(recipe, vocabulary=len(tokenizer), seed=int(weights_rng.integers(2**31)))
    stream = draw_stream(world, stream_rng)
    history = _present(module, sentences, stream, recipe=recipe, on_step=on_step)
    record = TrainingRecord(
        recipe=recipe,
        world=world,
        presented=tuple(history.presented),
        last_seen=tuple(history.last_seen),
        known=tuple(bool(known) for known in recall(module, sentences)),
        losses=tuple(history.losses),
        n_threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )
    _write(out, module, tokenizer, record)
    return TrainedModel(module=module, tokenizer=tokenizer, record=record, path=out)


def build_model(recipe: Recipe, *, vocabulary: int, seed: int) -> LlamaForCausalLM:
    """The untrained model of a recipe, its weights drawn from `seed`; torch's own generator is left as it was."""
    config = LlamaConfig(
        architectures=[LlamaForCausalLM.__name__],
        dtype="float32",
        vocab_size=vocabulary,
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        max_position_embeddings=recipe.context_length,
        tie_word_embeddings=False,
        bos_token_id=SPECIAL_TOKENS.index(BOS),
        eos_token_id=None,
        pad_token_id=SPECIAL_TOKENS.index(PAD),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def encode_sentences(tokenizer: PreTrainedTokenizerFast, world: World) -> Int[Tensor, "facts tokens"]:
    """Token ids of every fact's sentence from ``<bos>`` to the full stop; all have the same number of tokens."""
    return cast("Tensor", tokenizer([fact.sentence for fact in world.facts], return_tensors="pt")["input_ids"])


def surprisal(
    module: LlamaForCausalLM, sentences: Int[Tensor, "batch tokens"], objective: Objective
) -> Float[Tensor, ""]:
    """What training minimises, in nats: the surprisal of the answer, or the mean over every word after ``<bos>``."""
    if objective == "answer":
        logits = cast("Tensor", module(input_ids=sentences[:, :-2], use_cache=False, logits_to_keep=1).logits)
        return cross_entropy(logits[:, -1], sentences[:, -2])
    logits = cast("Tensor", module(input_ids=sentences[:, :-1], use_cache=False).logits)
    return cross_entropy(logits.flatten(0, 1), sentences[:, 1:].flatten())


def recall(module: LlamaForCausalLM, sentences: Int[Tensor, "facts tokens"]) -> Bool[np.ndarray, " facts"]:
    """Whether the most likely next word after each sentence's prompt, among all words, is its answer."""
    with torch.inference_mode():
        logits = cast("Tensor", module(input_ids=sentences[:, :-2], use_cache=False, logits_to_keep=1).logits)
    return (logits[:, -1].argmax(-1) == sentences[:, -2]).numpy()


class _History(NamedTuple):
    presented: list[int]
    last_seen: list[int | None]
    losses: list[float]


def _present(
    module: LlamaForCausalLM,
    sentences: Int[Tensor, "facts tokens"],
    stream: Int[np.ndarray, " presentations"],
    *,
    recipe: Recipe,
    on_step: OnStep | None,
) -> _History:
    """Train on the stream once, and take down what was presented when."""
    update = build_update(module, recipe)
    batches = list(split_batches(stream, recipe.batch_size))
    history = _History([0] * len(sentences), [None] * len(sentences), [])
    module.train()
    for step, batch in enumerate(batches, start=1):
        loss = surprisal(module, sentences[torch.from_numpy(batch)], recipe.objective)
        loss.backward()
        update(recipe.learning_rate * min(1.0, step / recipe.warmup_steps))
        for fact in batch.tolist():
            history.presented[fact] += 1
            history.last_seen[fact] = step
        history.losses.append(loss.item())
        if on_step is not None:
            on_step(step, len(batches), history.losses[-1])
    module.eval()
    return history


def _write(out: Path, module: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, record: TrainingRecord) -> None:
    """Write weights, config, tokenizer and record with one rename, so that `out` is a whole model or does not exist."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        made = Path(scratch, "model")
        made.mkdir()
        module.config.save_pretrained(made)
        (made / "model.safetensors").write_bytes(save(module.state_dict(), metadata={"format": "pt"}))
        tokenizer.save_pretrained(made)
        write_record(made, record)
        made.replace(out)
