"""Train a small model on a world of facts, so that the number of times it saw each fact is known.

Problem. A claim about familiarity needs a model whose training stream can be counted to the last presentation, and that
anyone with two cores can train again to the same weights.

Idea. The recipe says everything: its seed is split into independent streams for the world, for the order of
presentations, for the initial weights and for answers that are redrawn. Training is plain: float32, AdamW, a learning
rate that rises linearly and then stays (a decay would end somewhere, and what happens there would look like a property
of the facts seen last), one pass over the stream, every presentation weighing the same. The same recipe, machine and
number of threads give the same weights, whether or not training was interrupted (`probes.lab.history`).

Non-goals: speed, search for a learning rate, models that generalise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probes.errors import InputError
from probes.lab.families import build_model
from probes.lab.history import (
    FOLDER,
    STATE,
    History,
    checkpoint_name,
    checkpoint_steps,
    due,
    load_state,
    save_state,
)
from probes.lab.lexicon import FILLER
from probes.lab.links.curriculum import draw_count, draw_lessons, learned
from probes.lab.links.episodes import WORDS, Lesson
from probes.lab.optimizers import build_update
from probes.lab.recipe import Objective, Recipe
from probes.lab.stream import draw_answers, draw_stream, split_batches
from probes.lab.tokenizer import build_tokenizer
from probes.lab.training_record import TrainingRecord, write_record
from probes.lab.world import World, build_world

OnStep = Callable[[int, int, float], None]
"""Called after every optimizer step with the steps done, the steps in all and the loss of this one."""

PREAMBLE_EVERY: Final = 3
FILLER_SHARE: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """Model and record that `train` made.

    Attributes:
        module: the trained model, in evaluation mode.
        tokenizer: its tokenizer.
        record: its world and how it was trained.
        path: the directory that holds all three.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    record: TrainingRecord
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Everything that a recipe draws, before the first step.

    Attributes:
        recipe: the recipe.
        world: its facts.
        tokenizer: its words.
        sentences: token ids of every fact's sentence.
        stream: the fact presented at each place.
        answers: the fact whose tail is shown there.
        module: the untrained model.
    """

    recipe: Recipe
    world: World
    tokenizer: PreTrainedTokenizerFast
    sentences: Int[Tensor, "facts tokens"]
    stream: Int[np.ndarray, " presentations"]
    answers: Int[np.ndarray, " presentations"]
    module: PreTrainedModel

    @property
    def n_presenting(self) -> int:
        """Optimizer steps that present facts."""
        return -(-len(self.stream) // self.recipe.batch_size)

    @property
    def n_steps(self) -> int:
        """Most optimizer steps of the whole training; practice may end earlier."""
        return self.n_presenting + self.recipe.practice

    def learning_rate(self, step: int) -> float:
        """The rate of a step, from 1: warmed up and constant while facts are presented, falling to 0 in practice."""
        recipe, practised = self.recipe, step - self.n_presenting
        if practised <= 0:
            return recipe.learning_rate * min(1.0, step / recipe.warmup_steps)
        return (
            recipe.practice_rate * min(1.0, practised / recipe.warmup_steps) * (1 - (practised - 1) / recipe.practice)
        )


def prepare(recipe: Recipe) -> Course:
    """Draw world, order, answers and initial weights, each from a generator of its own.

    Raises:
        InputError: if the recipe asks for a world that cannot be built, or for practice without lessons.
    """
    if recipe.practice and not recipe.lessons:
        raise InputError(f"practice is of lessons: {recipe.practice} steps of it need lessons of 1 or more, got 0")
    world_rng, stream_rng, weights_rng, answers_rng = np.random.default_rng(recipe.seed).spawn(4)
    world = build_world(world_rng, multiples=recipe.multiples, unit=recipe.unit, n_tails=recipe.n_tails)
    tokenizer = build_tokenizer(sorted({*world.words, *WORDS}) if recipe.lessons or recipe.preamble else world.words)
    stream = draw_stream(world, stream_rng, order=recipe.order)
    return Course(
        recipe=recipe,
        world=world,
        tokenizer=tokenizer,
        sentences=encode_sentences(tokenizer, world),
        stream=stream,
        answers=draw_answers(world, stream, answers_rng, answers=recipe.answers),
        module=build_model(recipe, vocabulary=len(tokenizer), seed=int(weights_rng.integers(2**31))),
    )


def train(recipe: Recipe, out: Path, *, n_checkpoints: int = 0, on_step: OnStep | None = None) -> TrainedModel:
    """Train the model of a recipe and write it to `out`, whole or not at all.

    `out` then holds a Hugging Face model (config.json, model.safetensors, tokenizer files), ``world.json``: the facts,
    how often and when they were presented, and which of them the model knows
    (`probes.lab.training_record.read_record`), and, if asked for, ``checkpoints``: the same at steps evenly spaced on a
    log scale. Until then ``<out>.unfinished`` holds what is needed to go on after an interruption, which the next call
    with the same recipe does.

    Args:
        recipe: world, architecture and optimisation.
        out: a directory that does not exist yet or is empty.
        n_checkpoints: how many models to keep from the way there; the first is the untrained one.
        on_step: told of every step, for a progress bar.

    Raises:
        InputError: if `out` or its unfinished neighbour is in use by something else, or the recipe asks for a world
            that cannot be built.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"a model is written to a new or empty directory, but {out} is in use: name another one")
    course = prepare(recipe)
    unfinished = out.with_name(f"{out.name}.unfinished")
    history = _go_through(course, unfinished, checkpoint_steps(course.n_steps, n_checkpoints), on_step)
    record = _write(unfinished, course, history)
    (unfinished / STATE).unlink(missing_ok=True)
    unfinished.replace(out)
    return TrainedModel(module=course.module, tokenizer=course.tokenizer, record=record, path=out)


def _go_through(course: Course, unfinished: Path, kept: tuple[int, ...], on_step: OnStep | None) -> History:
    """Take the steps that are left, from the beginning or from where an interruption left model and optimizer."""
    recipe, module = course.recipe, course.module
    state = load_state(unfinished, asdict(recipe))
    unfinished.mkdir(parents=True, exist_ok=True)
    history = _blank(course) if state is None else History.restored(state.history)
    if state is not None:
        module.load_state_dict(state.weights)
    elif 0 in kept:
        _write(unfinished / FOLDER / checkpoint_name(0), course, history)
    streams = (split_batches(part, recipe.batch_size) for part in (course.stream, course.answers))
    batches = [*zip(*streams, strict=True), *repeat(None, recipe.practice)]
    saved = time.monotonic()
    module.train()
    for part in (range(1, course.n_presenting + 1), range(course.n_presenting + 1, course.n_steps + 1)):
        update, done = build_update(module, recipe), history.steps
        if state is not None and done in part:
            update.restore(state.moments, done - part.start + 1)
        for step in range(max(done + 1, part.start), part.stop):
            if learned(history.lesson_losses[course.n_presenting :], recipe.practice):
                break
            loss = _learn(course, history, step, batches[step - 1])
            update(course.learning_rate(step))
            if step in kept:
                _write(unfinished / FOLDER / checkpoint_name(step), course, history)
            if step in kept or due(saved):
                save_state(unfinished, asdict(recipe), module.state_dict(), update.state(), history.tensors())
                saved = time.monotonic()
            if on_step is not None:
                on_step(step, course.n_steps, loss)
    return history


def _blank(course: Course) -> History:
    n_facts = len(course.world.facts)
    return History(np.zeros(n_facts, np.int64), np.zeros(n_facts, np.int64), [], [])


def _learn(
    course: Course,
    history: History,
    step: int,
    batch: tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]] | None,
) -> float:
    """Gradients of one step, of sentences and of lessons if there are any; the loss of the first of them."""
    losses: list[float] = []
    if batch is not None:
        facts, answers = batch
        sentences = introduced(course, shown(course.sentences, facts, answers), step)
        loss = surprisal(course.module, sentences, course.recipe.objective)
        loss.backward()
        losses.append(loss.item())
        history.losses.append(losses[-1])
        np.add.at(history.presented, facts, 1)
        history.last_seen[facts] = step
    if course.recipe.lessons:
        lessons = draw_lessons(course.recipe, step, course.n_presenting)
        taught = lesson_surprisal(course.module, course.tokenizer, lessons)
        taught.backward()
        losses.append(taught.item())
        history.lesson_losses.append(losses[-1])
    return losses[0]


def shown(
    sentences: Int[Tensor, "facts tokens"],
    facts: Int[np.ndarray, " batch"],
    answers: Int[np.ndarray, " batch"],
) -> Int[Tensor, "batch tokens"]:
    """The sentences of a batch as the model reads them: the prompt of one fact, the tail of the same or another."""
    batch = sentences[torch.from_numpy(facts)]
    batch[:, -2] = sentences[torch.from_numpy(answers), -2]
    return batch


def introduced(course: Course, sentences: Int[Tensor, "batch tokens"], step: int) -> Int[Tensor, "batch longer"]:
    """The sentences of a step behind words of chance, if the recipe has preambles and it is their turn.

    The words are tails, symbols, filler and marks, no names, so no preamble presents a fact.
    """
    if not course.recipe.preamble or step % PREAMBLE_EVERY:
        return sentences
    rng = np.random.default_rng([course.recipe.seed, step, course.recipe.preamble])
    length = draw_count(rng, course.recipe.preamble)
    words = sorted({fact.tail for fact in course.world.facts}.union(WORDS))
    ids = torch.tensor(course.tokenizer.convert_tokens_to_ids(words))
    filler = cast("int", course.tokenizer.convert_tokens_to_ids(FILLER))
    drawn = ids[torch.from_numpy(rng.integers(len(ids), size=(len(sentences), length)))]
    drawn[torch.from_numpy(rng.random(len(sentences)) < FILLER_SHARE)] = filler
    return torch.cat([sentences[:, :1], drawn, sentences[:, 1:]], dim=1)


def encode_sentences(tokenizer: PreTrainedTokenizerFast, world: World) -> Int[Tensor, "facts tokens"]:
    """Token ids of every fact's sentence from ``<bos>`` to the full stop; all have the same number of tokens."""
    return cast("Tensor", tokenizer([fact.sentence for fact in world.facts], return_tensors="pt")["input_ids"])


def surprisal(
    module: PreTrainedModel, sentences: Int[Tensor, "batch tokens"], objective: Objective
) -> Float[Tensor, ""]:
    """Loss of training, in nats: the surprisal of the answer, or the mean over every word after ``<bos>``."""
    if objective == "answer":
        return cross_entropy(_last_logits(module, sentences), sentences[:, -2])
    logits = cast("Tensor", module(input_ids=sentences[:, :-1], use_cache=False).logits)
    return cross_entropy(logits.flatten(0, 1), sentences[:, 1:].flatten())


def lesson_surprisal(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, lessons: Sequence[Lesson]
) -> Float[Tensor, ""]:
    """Mean surprisal of every answer in lessons of one shape, in nats."""
    ids = cast("Tensor", tokenizer([lesson.text for lesson in lessons], return_tensors="pt")["input_ids"])
    answers = torch.tensor([lesson.answers for lesson in lessons])  # word i stands at token i + 1, after <bos>
    hidden = cast("Tensor", module.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state)
    rows = torch.arange(len(ids)).unsqueeze(1)
    logits = cast("Tensor", cast("nn.Module", module.get_output_embeddings())(hidden[rows, answers]))
    return cross_entropy(logits.flatten(0, 1), ids[rows, answers + 1].flatten())


def _last_logits(module: PreTrainedModel, sentences: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch vocabulary"]:
    output = module(input_ids=sentences[:, :-2], use_cache=False, logits_to_keep=1)
    return cast("Tensor", output.logits)[:, -1]


def _record(course: Course, history: History) -> TrainingRecord:
    """Record of the model as it stands after the history so far."""
    course.module.eval()
    with torch.inference_mode():
        logits = _last_logits(course.module, course.sentences)
    course.module.train()
    answers = course.sentences[:, -2]
    surprisals = cast("list[float]", cross_entropy(logits, answers, reduction="none").tolist())
    return TrainingRecord(
        recipe=course.recipe,
        world=course.world,
        presented=tuple(history.presented.tolist()),
        last_seen=tuple(step or None for step in history.last_seen.tolist()),
        known=tuple(cast("list[bool]", (logits.argmax(-1) == answers).tolist())),
        surprisals=tuple(round(value, 6) for value in surprisals),
        losses=tuple(history.losses),
        lesson_losses=tuple(history.lesson_losses),
        n_threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )


def _write(out: Path, course: Course, history: History) -> TrainingRecord:
    """Write weights, config, tokenizer and record of the model as it stands."""
    out.mkdir(parents=True, exist_ok=True)
    record = _record(course, history)
    course.module.config.save_pretrained(out)
    (out / "model.safetensors").write_bytes(save(course.module.state_dict(), metadata={"format": "pt"}))
    course.tokenizer.save_pretrained(out)
    write_record(out, record)
    return record
