"""A small transformer language model of the laboratory as a learner: a byte at a time, one flat vector of weights.

Everything is float64 (:mod:`probes.learning_law.precision`). The scales use GPT-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.utils import vector_to_parameters

from probes.lab.families import build_model
from probes.lab.history import FOLDER, checkpoint_name
from probes.lab.recipe import Recipe
from probes.lab.text_training import build_text_tokenizer, write_model
from probes.lab.tokenizer import BOS, SPECIAL_TOKENS
from probes.lab.training_record import Lineage
from probes.learning_law.arms import Trial
from probes.learning_law.descent import Weights, scheduled, train
from probes.learning_law.learners import Differentiable, Losses
from probes.learning_law.precision import in_float64
from probes.learning_law.sentences import Sentences, draw_sentences, help_sentences

NOTHING: Final = -100  # what cross-entropy leaves out
AT_ONCE: Final = 256  # sentences whose derivatives are held at a time


class LanguagePlan(NamedTuple):
    """Sizes of a trial.

    Attributes:
        recipe: of the model; its context length is that of the sentences and one more.
        sizes: training, desired and held-out sentences.
        few: desired sentences of the small desired set.
        rate: step size.
        n_steps: of the training.
        epochs: of the search.
    """

    recipe: Recipe
    sizes: tuple[int, int, int]
    few: int
    rate: float
    n_steps: int
    epochs: int


LANGUAGES: Final = {
    "small": LanguagePlan(
        Recipe(family="gpt2", d_model=16, n_layers=2, n_heads=2, d_mlp=32, context_length=25, initial_sd=0.1),
        (96, 96, 96),
        12,
        0.1,  # at .3 the loss oscillates, and no step of the policy is small enough
        24,
        24,
    ),
    "paper": LanguagePlan(
        Recipe(family="gpt2", d_model=128, n_layers=2, n_heads=8, d_mlp=512, context_length=65, initial_sd=0.02),
        (16384, 512, 512),
        64,
        0.1,
        4000,
        15,
    ),
}


class Reader(NamedTuple):
    """Sentences as a model reads them."""

    ids: Tensor
    following: Tensor

    @classmethod
    def of(cls, sentences: Sequence[str], length: int) -> Reader:
        """Bytes after a beginning; what is shorter is filled up with what no loss counts."""
        tokenizer = build_text_tokenizer([], None)
        bos = SPECIAL_TOKENS.index(BOS)  # fills up, too: what follows changes nothing before it
        rows = [cast("list[int]", tokenizer(one)["input_ids"])[:length] for one in sentences]
        ids = torch.tensor([[bos, *row, *[bos] * (length - len(row))] for row in rows])
        following = torch.tensor([[*row, *[NOTHING] * (length - len(row))] for row in rows])
        return cls(ids[:, :-1], following)

    def part(self, rows: slice) -> Reader:
        """Some of the sentences."""
        return Reader(self.ids[rows], self.following[rows])


def language_learner(recipe: Recipe, read: Sentences) -> Differentiable:
    """A model of a recipe, untrained, with mean losses per symbol of its sentences, in nats."""
    vocabulary = len(build_text_tokenizer([], None))
    module = in_float64(build_model(recipe, vocabulary=vocabulary, seed=recipe.seed), recipe.family)
    module.requires_grad_(False)
    names = [name for name, _ in module.named_parameters()]
    shapes = [weight.shape for weight in module.parameters()]
    sizes = [shape.numel() for shape in shapes]

    def losses_of(own: Reader) -> Losses:
        def losses(at: Tensor) -> Tensor:
            weights = (part.view(shape) for part, shape in zip(torch.split(at, sizes), shapes, strict=True))
            read = functional_call(
                module, dict(zip(names, weights, strict=True)), kwargs={"input_ids": own.ids, "use_cache": False}
            )
            each = cross_entropy(
                cast("Tensor", read.logits).transpose(1, 2), own.following, ignore_index=NOTHING, reduction="none"
            )
            return each.sum(1) / (own.following != NOTHING).sum(1)

        return losses

    def mean_of(sentences: Sequence[str]) -> Losses:
        losses = losses_of(Reader.of(sentences, recipe.context_length - 1))
        return lambda at: losses(at).mean()

    train = Reader.of(read.train, recipe.context_length - 1)
    n_parts = -(-len(read.train) // AT_ONCE)
    size = -(-len(read.train) // n_parts)
    return Differentiable(
        start=torch.cat([weight.detach().reshape(-1) for weight in module.parameters()]),
        parts=[losses_of(train.part(slice(at, at + size))) for at in range(0, len(read.train), size)],
        wanted=mean_of(read.desired),
        unseen=mean_of(read.held_out),
        n_examples=len(read.train),
        symbols=vocabulary,
    )


def sentences_of(plan: LanguagePlan, seed: int) -> Sentences:
    """Sentences of a trial."""
    return draw_sentences(help_sentences(plan.recipe.context_length - 1), plan.sizes, np.random.default_rng(seed))


def write_checkpoints(plan: LanguagePlan, seed: int, read: Sentences, weights: Weights, folder: Path) -> list[Path]:
    """Train under a policy once more, and write the model at the start, at each quarter and at the end.

    Args:
        plan: sizes of the trial.
        seed: of the trial.
        read: its sentences.
        weights: the policy.
        folder: of the seed; the models go to ``checkpoints`` in it.

    Returns:
        The folders of the models, in the order of training.
    """
    recipe = replace(plan.recipe, seed=seed)
    tokenizer = build_text_tokenizer([], None)
    learner = language_learner(recipe, read)
    path = train(learner, scheduled(weights), rate=plan.rate, n_steps=plan.n_steps, every=1, held_out=False)
    points = [*path.kept, path.end]
    module = build_model(recipe, vocabulary=len(tokenizer), seed=seed)
    found: list[Path] = []
    for step in dict.fromkeys(round(quarter * plan.n_steps / 4) for quarter in range(5)):
        vector_to_parameters(points[step].float(), module.parameters())
        found.append(folder / FOLDER / checkpoint_name(step))
        write_model(found[-1], module.eval(), tokenizer, Lineage(step, seed))
    return found


def language_trial(plan: LanguagePlan, seed: int) -> Trial:
    """Draw a language trial; model and sentences are of the seed."""
    recipe, read = replace(plan.recipe, seed=seed), sentences_of(plan, seed)
    return Trial(
        language_learner(recipe, read),
        language_learner(recipe, read._replace(desired=read.desired[: plan.few])),
        language_learner(recipe, read._replace(train=read.desired)),
        plan.rate,
        plan.n_steps,
        plan.epochs,
        None,
        (len(read.desired), plan.few),
        looks=2,
    )
