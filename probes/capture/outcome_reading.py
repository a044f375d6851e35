"""Outcomes of a prompt (surprisal, correctness and others), read from the same forward pass as its states.

Each outcome names the rows of logits it needs and what is kept of them; the union of all rows goes through the head
(`probes.capture.logits`), each chunk is reduced to what is asked of its rows (every statistic takes several passes over
the vocabulary), and outcomes are then means or conjunctions of those numbers.

Outcomes are defined in :mod:`probes.vocabulary.outcomes`. Outcomes of choices are read in
:mod:`probes.capture.choices`, those of encoder-decoders (which predict nothing of a prompt but what follows) in
:mod:`probes.capture.answering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64

from probes.capture.answering import reduce_answers
from probes.capture.choices import read_choices
from probes.capture.logits import Reduce, Reducer, reduce_logits
from probes.errors import InputError
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.outcomes import CHOICE_OUTCOMES, OUTCOMES, Statistic
from probes.vocabulary.prompt import Prompt


def read_outcomes(
    model: LoadedModel,
    output: Output,
    prompts: Sequence[Prompt],
    outcomes: Sequence[str],
) -> dict[str, Float64[np.ndarray, " prompts"]]:
    """Read outcomes off a finished forward pass.

    Args:
        model: the model that ran.
        output: what :meth:`LoadedModel.run` returned for the padded prompts.
        prompts: the batch.
        outcomes: names from :data:`OUTCOMES`.

    Returns:
        One value per prompt and outcome, NaN where a prompt has nothing to ask about.

    Raises:
        InputError: if the model does not predict the next token.
        sparsity.registry.UnknownNameError: for an unknown outcome.
    """
    found, _ = read_logits(model, output, prompts, outcomes, ())
    return found


def read_logits(
    model: LoadedModel, output: Output, prompts: Sequence[Prompt], outcomes: Sequence[str], others: Sequence[Reducer]
) -> tuple[dict[str, Float64[np.ndarray, " prompts"]], list[Float64[np.ndarray, "numbers rows"]]]:
    """Outcomes, and what other readers make of the same logits. Arguments and errors as :func:`read_outcomes`."""
    if not outcomes:
        return {}, reduce_logits(model, output, others) if others else []
    own = outcome_reducers(model, prompts, outcomes)
    if model.is_answering:
        tables, reduced = reduce_answers(model, output, prompts, list(own.values())), []
    else:
        every = reduce_logits(model, output, [*own.values(), *others])
        tables, reduced = every[: len(own)], every[len(own) :]
    found = outcomes_of(
        prompts,
        outcomes,
        {name: (reducer.rows, table[0]) for (name, reducer), table in zip(own.items(), tables, strict=True)},
    )
    return found if model.is_answering else found | read_choices(model, output, prompts, outcomes), reduced


def outcome_reducers(
    model: LoadedModel, prompts: Sequence[Prompt], outcomes: Sequence[str]
) -> dict[Statistic, Reducer]:
    """Reducers that keep of the logits what some outcomes need. Errors as :func:`read_outcomes`."""
    asked = [OUTCOMES[name] for name in outcomes]
    if model.is_answering and set(outcomes) & set(CHOICE_OUTCOMES):
        raise InputError(f"{model.name}: answers of an encoder-decoder are not compared; leave out choice outcomes")
    if asked and not (model.is_causal or model.is_answering):
        raise InputError(
            f"{model.name} ({type(model.module).__name__}) has no next-token head, so it has no outcomes; "
            "use outcomes: []"
        )
    longest = max(len(prompt.ids) for prompt in prompts)
    needed: dict[Statistic, set[int]] = {outcome.statistic: set() for outcome in asked}
    for outcome in asked:
        for item, prompt in enumerate(prompts):
            needed[outcome.statistic].update(item * longest + row for row in outcome.rows(prompt))
    found: dict[Statistic, Reducer] = {}
    for statistic, rows in needed.items():
        flat = sorted(rows)
        following = [_following(prompts[row // longest], row % longest) for row in flat]
        own = (np.array(flat, dtype=np.int64), np.array(following, dtype=np.int64))
        found[statistic] = Reducer(*own, 1, STATISTICS[statistic])
    return found


def outcomes_of(
    prompts: Sequence[Prompt],
    outcomes: Sequence[str],
    kept: Mapping[Statistic, tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]],
) -> dict[str, Float64[np.ndarray, " prompts"]]:
    """Outcomes from the statistics of the rows that they needed; those of choices are left NaN."""
    longest = max(len(prompt.ids) for prompt in prompts)
    found: dict[str, Float64[np.ndarray, " prompts"]] = {}
    for outcome in (OUTCOMES[name] for name in outcomes):
        flat, numbers = kept[outcome.statistic]
        values = np.full(len(prompts), np.nan)
        for item, own in enumerate(map(outcome.rows, prompts)):
            if own:
                first = int(np.searchsorted(flat, item * longest + own.start))
                values[item] = outcome.value(numbers[first : first + len(own)])
        found[outcome.name] = values
    return found


def _following(prompt: Prompt, row: int) -> int:
    """The token after a row, -1 where the ids end."""
    return prompt.ids[row + 1] if row + 1 < len(prompt.ids) else -1


def _nll(logits: Float[torch.Tensor, "rows vocabulary"], following: torch.Tensor) -> Float[torch.Tensor, "1 rows"]:
    """Nats of the token that follows."""
    nll = -logits.log_softmax(-1).gather(-1, following.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return nll.masked_fill(following < 0, torch.nan).unsqueeze(0)


def _lead(logits: Float[torch.Tensor, "rows vocabulary"], following: torch.Tensor) -> Float[torch.Tensor, "1 rows"]:
    """Logit of the token that follows less that of the best other one."""
    index = following.clamp(min=0).unsqueeze(-1)
    own = logits.gather(-1, index).squeeze(-1)
    lead = own - logits.scatter(-1, index, -torch.inf).amax(-1)
    return lead.masked_fill(following < 0, torch.nan).unsqueeze(0)


def _entropy(logits: Float[torch.Tensor, "rows vocabulary"], _: torch.Tensor) -> Float[torch.Tensor, "1 rows"]:
    """Entropy of the prediction, nats."""
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).nan_to_num(nan=0.0, neginf=0.0).sum(-1)
    return torch.where(log_p.isnan().any(-1), torch.nan, entropy).unsqueeze(0)


STATISTICS: Final[Mapping[Statistic, Reduce]] = {"nll": _nll, "lead": _lead, "entropy": _entropy}
