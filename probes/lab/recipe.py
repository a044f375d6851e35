"""Everything that decides what a laboratory model is.

How the defaults were found (seed 0, one thread unless said; Spearman correlation of exposure with Hoyer after the final
norm at the last word of the prompt, over all facts / over the trained facts that the model knows):

    full world, 2,048 facts                                       known at one unit    correlation
    unit 28, learning rate 3e-4 (the default, shipped)                   .969           -.36 / -.22
    unit 16, learning rate 5e-4                                          .941           -.33 / -.24
    unit 16, learning rate 1e-3, loss on the sentence (two threads)      .941           -.18 / -.12

    small world, 512 facts: n_tails 8, batch_size 128, unit 16
    learning rate 5e-4                                                   .938           -.49 / -.44
    learning rate 5e-4, loss on the sentence                             .859           -.39 / -.32
    learning rate 5e-4, optimizer equivariant                            .859            .01 /  .00
    learning rate 1e-3                                                   .859           -.39 / -.29
    learning rate 1e-3, weight decay 1                                   .797           -.55 / -.47

The loss is on the answer: prompts are drawn evenly, so that there is nothing in them to learn, and a model that has to
predict them as well learns its facts more slowly. What this model thinks of the words of a prompt therefore means
nothing; what it thinks of the answer does. The shipped recipe was chosen after seeing both mastery and effect, so it
is a demonstration and no preregistered result. In the one pair of small worlds that differ in the optimizer alone, the
effect is there under AdamW and not under the equivariant twin; one seed cannot say how much of it is the optimizer's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Objective = Literal["answer", "sentence"]
Optimizer = Literal["adamw", "equivariant"]
Family = Literal["llama", "gpt2", "mixture", "mamba"]
Answers = Literal["true", "shuffled"]
Order = Literal["random", "early_late"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """World, architecture and optimisation; the defaults are those of the shipped reference model.

    Attributes:
        seed: split into independent streams for the world, the order of presentations and the initial weights.
        multiples: exposure levels in units.
        unit: presentations per unit.
        n_tails: tails of each relation; the world has ``len(multiples) ** 2 * n_tails`` facts.
        d_model: width of the residual stream.
        family: architecture (`probes.lab.families`).
        n_layers: blocks.
        n_heads: attention heads per block, where there is attention.
        d_mlp: width of the MLP, of one expert, or of the state-space block.
        context_length: positions the model can read.
        objective: what the loss is on: the answer alone, or every word of the sentence.
        answers: the facts' own, or redrawn for every presentation among those of the relation, so that every prompt is
            read as often and there is nothing to know.
        order: when facts are presented: at random, or half of each level in the first half of training and the other
            half in the second, which crosses exposure with recency.
        optimizer: AdamW, or its twin without a preference for coordinates (`probes.lab.optimizers`).
        batch_size: sentences per optimizer step.
        learning_rate: reached after the warm-up, then constant.
        warmup_steps: optimizer steps over which the learning rate rises linearly.
        weight_decay: decoupled (AdamW), on all parameters.
    """

    seed: int = 0
    multiples: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32, 64)
    unit: int = 28
    n_tails: int = 32
    family: Family = "llama"
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    d_mlp: int = 384
    context_length: int = 64
    objective: Objective = "answer"
    answers: Answers = "true"
    order: Order = "random"
    optimizer: Optimizer = "adamw"
    batch_size: int = 512
    learning_rate: float = 3e-4
    warmup_steps: int = 100
    weight_decay: float = 0.1
