"""Train a small model on a world of facts, so that the number of times it saw each fact is known.

Problem. A claim about familiarity needs a model whose training stream can be counted to the last presentation, and that
anyone with two cores can train again to the same weights.

Idea. The recipe says everything: its seed is split into independent streams for the world, for the order of
presentations, for the initial weights and for answers that are redrawn. Training is plain: float32, AdamW, a learning
rate that rises linearly and then stays (a decay would end somewhere, and what happens there would look like a property
of the facts seen last), one pass over the stream, every presentation weighing the same. The same recipe, machine and
number of threads give the same weights, whether or not training was interrupted (`probes.lab.checkpoints`).

Non-goals: speed, search for a learning rate, models that generalise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from probes.lab.checkpoints import (
    FOLDER,
    STATE,
    History,
    checkpoint_name,
    checkpoint_steps,
    due,
    load_state,
    save_state,
)
from probes.lab.curriculum import draw_count, draw_lessons
from probes.lab.episodes import WORDS, Lesson
from probes.lab.families import build_model
from probes.lab.lexicon import FILLER
from probes.lab.optimizers import Update, build_update
from probes.lab.recipe import Objective, Recipe
from probes.lab.record import TrainingRecord, write_record
from probes.lab.stream import draw_answers, draw_stream, split_batches
from probes.lab.vocabulary import build_tokenizer
from probes.lab.world import World, build_world

OnStep = Callable[[int, int, float], None]
"""Called after every optimizer step with the steps done, the steps in all and the loss of this one."""

PREAMBLE_EVERY: Final = 3
FILLER_SHARE: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """What `train` made.

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
    def n_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return -(-len(self.stream) // self.recipe.batch_size)


def prepare(recipe: Recipe) -> Course:
    """Draw world, order, answers and initial weights, each from a generator of its own."""
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
    how often and when they were presented, and which of them the model knows (`probes.lab.record.read_record`), and, if
    asked for, ``checkpoints``: the same at steps evenly spaced on a log scale. Until then ``<out>.unfinished`` holds
    what is needed to go on after an interruption, which the next call with the same recipe does.

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
    update = build_update(course.module, recipe)
    history = _take_up(course, update, unfinished)
    _present(course, update, history, unfinished, checkpoint_steps(course.n_steps, n_checkpoints), on_step)
    record = _write(unfinished, course, history)
    (unfinished / STATE).unlink(missing_ok=True)
    unfinished.replace(out)
    return TrainedModel(module=course.module, tokenizer=course.tokenizer, record=record, path=out)


def _take_up(course: Course, update: Update, unfinished: Path) -> History:
    """Bring model and optimizer to where an interrupted training left them, or leave them at the beginning."""
    state = load_state(unfinished, asdict(course.recipe))
    unfinished.mkdir(parents=True, exist_ok=True)
    if state is None:
        n_facts = len(course.world.facts)
        return History(np.zeros(n_facts, np.int64), np.zeros(n_facts, np.int64), [], [])
    course.module.load_state_dict(state.weights)
    history = History.restored(state.history)
    update.restore(state.moments, len(history.losses))
    return history


def _present(
    course: Course, update: Update, history: History, unfinished: Path, kept: tuple[int, ...], on_step: OnStep | None
) -> None:
    """Go through what is left of the stream, and take down what was presented when."""
    recipe = course.recipe
    parts = (split_batches(part, recipe.batch_size) for part in (course.stream, course.answers))
    batches = list(zip(*parts, strict=True))
    if 0 in kept and not history.losses:
        _write(unfinished / FOLDER / checkpoint_name(0), course, history)
    saved = time.monotonic()
    course.module.train()
    for step in range(len(history.losses) + 1, len(batches) + 1):
        facts, answers = batches[step - 1]
        _learn(course, history, introduced(course, shown(course.sentences, facts, answers), step), step)
        update(recipe.learning_rate * min(1.0, step / recipe.warmup_steps))
        np.add.at(history.presented, facts, 1)
        history.last_seen[facts] = step
        if step in kept:
            _write(unfinished / FOLDER / checkpoint_name(step), course, history)
        if step in kept or due(saved):
            save_state(unfinished, asdict(recipe), course.module.state_dict(), update.state(), history.tensors())
            saved = time.monotonic()
        if on_step is not None:
            on_step(step, len(batches), history.losses[-1])


def _learn(course: Course, history: History, sentences: Int[Tensor, "batch tokens"], step: int) -> None:
    """Gradients of one step: of the sentences, and of lessons if there are any."""
    loss = surprisal(course.module, sentences, course.recipe.objective)
    loss.backward()
    history.losses.append(loss.item())
    if course.recipe.lessons:
        lessons = draw_lessons(course.recipe.seed, step, course.n_steps, course.recipe.lessons)
        taught = lesson_surprisal(course.module, course.tokenizer, lessons)
        taught.backward()
        history.lesson_losses.append(taught.item())


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
    """What training minimises, in nats: the surprisal of the answer, or the mean over every word after ``<bos>``."""
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
    """What is known of the model as it stands after the history so far."""
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
