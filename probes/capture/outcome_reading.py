"""Outcomes of a prompt (surprisal, correctness and others), read from the same forward pass as its states.

Each outcome names the rows of logits it needs; the union of them goes through the head (`probes.capture.logits`), each
chunk is reduced to a handful of numbers per row, and outcomes are then means or conjunctions of those numbers.

Outcomes are defined in :mod:`probes.vocabulary.outcomes`. Outcomes of choices are read in
:mod:`probes.capture.choices`, those of encoder-decoders (which predict nothing of a prompt but what follows) in
:mod:`probes.capture.answering`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64

from probes.capture.answering import reduce_answers
from probes.capture.choices import read_choices
from probes.capture.logits import Reducer, reduce_logits
from probes.errors import InputError
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.outcomes import CHOICE_OUTCOMES, OUTCOMES, RowStatistics
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
    own = outcome_reducer(model, prompts, outcomes)
    if model.is_answering:
        return outcomes_of(prompts, outcomes, own.rows, reduce_answers(model, output, prompts, own)), []
    table, *reduced = reduce_logits(model, output, [own, *others])
    found = outcomes_of(prompts, outcomes, own.rows, table) | read_choices(model, output, prompts, outcomes)
    return found, reduced


def outcome_reducer(model: LoadedModel, prompts: Sequence[Prompt], outcomes: Sequence[str]) -> Reducer:
    """Reducer that keeps of the logits what some outcomes need. Errors as :func:`read_outcomes`."""
    asked = [OUTCOMES[name] for name in outcomes]
    if model.is_answering and set(outcomes) & set(CHOICE_OUTCOMES):
        raise InputError(f"{model.name}: answers of an encoder-decoder are not compared; leave out choice outcomes")
    if asked and not (model.is_causal or model.is_answering):
        raise InputError(
            f"{model.name} ({type(model.module).__name__}) has no next-token head, so it has no outcomes; "
            "use outcomes: []"
        )
    longest = max(len(prompt.ids) for prompt in prompts)
    items = list(enumerate(prompts))
    needed = {item * longest + row for outcome in asked for item, prompt in items for row in outcome.rows(prompt)}
    flat = sorted(needed)
    following = [_following(prompts[row // longest], row % longest) for row in flat]
    return Reducer(
        np.array(flat, dtype=np.int64), np.array(following, dtype=np.int64), len(RowStatistics._fields), _reduce
    )


def outcomes_of(
    prompts: Sequence[Prompt],
    outcomes: Sequence[str],
    flat: Int64[np.ndarray, " rows"],
    table: Float64[np.ndarray, "3 rows"],
) -> dict[str, Float64[np.ndarray, " prompts"]]:
    """Outcomes from the statistics of the rows that they needed; those of choices are left NaN."""
    asked = [OUTCOMES[name] for name in outcomes]
    longest = max(len(prompt.ids) for prompt in prompts)
    needed = [[outcome.rows(prompt) for prompt in prompts] for outcome in asked]
    found: dict[str, Float64[np.ndarray, " prompts"]] = {}
    for outcome, rows in zip(asked, needed, strict=True):
        values = np.full(len(prompts), np.nan)
        for item, own in enumerate(rows):
            if own:
                first = int(np.searchsorted(flat, item * longest + own.start))
                there = slice(first, first + len(own))
                values[item] = outcome.value(RowStatistics(*(column[there] for column in table)))
        found[outcome.name] = values
    return found


def _following(prompt: Prompt, row: int) -> int:
    """The token after a row, -1 where the ids end."""
    return prompt.ids[row + 1] if row + 1 < len(prompt.ids) else -1


def _reduce(logits: Float[torch.Tensor, "rows vocabulary"], following: torch.Tensor) -> Float[torch.Tensor, "3 rows"]:
    """Statistics of a chunk of logits."""
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).nan_to_num(nan=0.0, neginf=0.0).sum(-1)
    entropy = torch.where(log_p.isnan().any(-1), torch.nan, entropy)
    index = following.clamp(min=0).unsqueeze(-1)
    nll = -log_p.gather(-1, index).squeeze(-1)
    own = logits.gather(-1, index).squeeze(-1)
    lead = own - logits.scatter(-1, index, -torch.inf).amax(-1)
    ends = following < 0
    return torch.stack([nll.masked_fill(ends, torch.nan), lead.masked_fill(ends, torch.nan), entropy])
