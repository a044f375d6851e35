"""Multiple choice and minimal pairs: the log-probability that a model gives to the right answer and to the others.

An answer is scored by the log-probability of its tokens after the prompt (of a whole sentence: of its tokens after the
first one, which is the beginning-of-sequence token where there is one). The outcomes compare the right answer with the
best other one:

============================ ======================================================= ======== =========================
name                         what                                                    range    of
============================ ======================================================= ======== =========================
``choice_margin``            nats by which the right answer is likelier in sum; on a real     items with choices
                             minimal pair: the difference of log-probabilities
``choice_margin_per_byte``   the same of log-probabilities per UTF-8 byte of answer  real     items with choices
``choice_margin_by_letter``  nats by which the right letter is likelier              real     prompts that list letters
``choice_correct``           1 if ``choice_margin`` > 0 (a tie is wrong), else 0     0 or 1   as above, and likewise
                                                                                              for the two others
============================ ======================================================= ======== =========================

Sums favour short answers and per-byte means long ones; letters ask whether the model can name its answer.

The states that a sweep measures are those of the prompt with its own target. Answers need further sequences, which run
without hooks after it: one for each distinct sequence of tokens up to an answer's last. What the measured pass has read
already (the right answer where it is the target, one-token letters, the pair's own sentence) is not run again; of other
answers only the tokens after the prompt are, where the model keeps what it reads (:mod:`probes.capture.continuing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

from probes.capture.batches import plan_batches
from probes.capture.continuing import Ending, ending_of, keeps, kept, read_endings
from probes.capture.logits import Reducer, reduce_logits
from probes.capture.prompts import encode, pad
from probes.models.joining import AUTO
from probes.models.loading import LoadedModel, Output
from probes.models.templates import PromptError, Template, Turns
from probes.models.tokens import BosPolicy, Reader, SpecialTokens
from probes.suites.question import LETTERS
from probes.vocabulary.outcomes import BY_LETTER, CHOICE_OUTCOMES, PER_BYTE
from probes.vocabulary.prompt import Choices, Prompt


class Scored(NamedTuple):
    """A token whose log-probability is asked: the row of logits that predicts it, and whose sum it goes into."""

    row: int
    token: int
    owner: int


Contexts = dict[tuple[int, ...], tuple[int, list[Scored]]]
"""Sequences that are left to read: the prompt that each belongs to, and what is asked of it."""


def with_choices(
    model: Reader,
    prompt: Prompt,
    text: str,
    choices: Sequence[str],
    right: int,
    *,
    whole: bool = False,
    lettered: bool = False,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
    answer_prefix: str = AUTO,
    special_tokens: SpecialTokens = "control",
    before: Turns = (),
) -> Prompt:
    """A prompt that knows the answers it is to be compared on.

    Args:
        model: the model that is to read them.
        prompt: the encoded text.
        text: the same, not encoded.
        choices: the answers.
        right: index of the right one.
        whole: whether they stand in the text's place instead of after it; ``max_tokens`` does not cut them then.
        lettered: whether the text lists them as A, B, C, ...
        max_tokens: as the prompt was cut.
        bos: as the prompt was encoded.
        template: as the prompt was encoded; answers that stand in the text's place stand in the template, and are
            scored without what it writes behind them.
        answer_prefix: as the prompt was encoded.
        special_tokens: as the prompt was encoded.
        before: as the prompt was encoded.

    Raises:
        PromptError: if an answer has no token that could be scored, or is too long with its prompt.
    """
    encoded = partial(
        encode,
        model,
        bos=bos,
        template=template,
        answer_prefix=answer_prefix,
        special_tokens=special_tokens,
        before=before,
    )
    if whole:
        texts = tuple(_as_target(encoded(choice)) for choice in choices)
    else:
        texts = tuple(encoded(text, target=choice, max_tokens=max_tokens) for choice in choices)
    letters = LETTERS[: len(choices)] if lettered else ""
    return replace(
        prompt,
        choices=Choices(
            right=right,
            texts=texts,
            n_bytes=tuple(len(choice.encode("utf-8", errors="surrogatepass")) for choice in choices),
            letters=tuple(encoded(text, target=one, max_tokens=max_tokens) for one in letters),
        ),
    )


def _as_target(prompt: Prompt) -> Prompt:
    """A text that is scored itself: its tokens that something precedes, and nothing behind them."""
    own = prompt.content
    if not own:
        raise PromptError(
            "a choice that is one token long, at the very beginning, cannot be scored: no token before it predicts it"
        )
    starts = prompt.char_starts[: own.stop]
    return replace(prompt, ids=prompt.ids[: own.stop], char_starts=starts, target_start=own.start, span=None)


def read_choices(
    model: LoadedModel, output: Output, prompts: Sequence[Prompt], outcomes: Sequence[str]
) -> dict[str, Float64[np.ndarray, " prompts"]]:
    """Compare the answers of some prompts.

    Args:
        model: the model that ran.
        output: what :meth:`LoadedModel.run` returned for the padded prompts.
        prompts: the batch.
        outcomes: names of outcomes; those that are not of choices are left to others.

    Returns:
        One value per prompt and outcome of choices, NaN where a prompt has nothing to compare.
    """
    asked = [name for name in outcomes if name in CHOICE_OUTCOMES]
    margins: dict[str, Float64[np.ndarray, " prompts"]] = {}
    for how in dict.fromkeys(name.removeprefix("choice_correct").removeprefix("choice_margin") for name in asked):
        margins[how] = _margins(model, output, prompts, how)
    found: dict[str, Float64[np.ndarray, " prompts"]] = {}
    for name in asked:
        margin = margins[name.removeprefix("choice_correct").removeprefix("choice_margin")]
        correct = np.where(np.isnan(margin), np.nan, margin > 0)
        found[name] = margin if name.startswith("choice_margin") else correct
    return found


def has_endings(model: LoadedModel, prompts: Sequence[Prompt], outcomes: Sequence[str]) -> bool:
    """True where answers will be read behind these prompts, and the model can go on from them."""
    asked = set(CHOICE_OUTCOMES).intersection(outcomes)
    return bool(asked) and any(prompt.choices is not None for prompt in prompts) and keeps(model)


def _margins(
    model: LoadedModel, output: Output, prompts: Sequence[Prompt], how: str
) -> Float64[np.ndarray, " prompts"]:
    """Score of the right answer less that of the best other one."""
    answers = [_answers(prompt, how) for prompt in prompts]
    owners = [(item, answer) for item, own in enumerate(answers) for answer in own]
    log_p = _log_probabilities(model, output, prompts, owners)
    margins = np.full(len(prompts), np.nan)
    first = 0
    for item, own in enumerate(answers):
        choices, scores = prompts[item].choices, log_p[first : first + len(own)]
        first += len(own)
        if choices is not None and own:
            scores = scores / np.array(choices.n_bytes) if how == PER_BYTE else scores
            margins[item] = scores[choices.right] - np.delete(scores, choices.right).max()
    return margins


def _answers(prompt: Prompt, how: str) -> tuple[Prompt, ...]:
    if prompt.choices is None:
        return ()
    return prompt.choices.letters if how == BY_LETTER else prompt.choices.texts


def _log_probabilities(
    model: LoadedModel, output: Output, prompts: Sequence[Prompt], owners: Sequence[tuple[int, Prompt]]
) -> Float64[np.ndarray, " answers"]:
    """Log-probability of every answer, in nats; each distinct context is run once, or not where it has been already."""
    longest = max(len(prompt.ids) for prompt in prompts)
    total = np.zeros(len(owners))
    there: list[Scored] = []
    contexts: Contexts = {}
    for owner, (item, answer) in enumerate(owners):
        context, start = answer.ids[:-1], answer.end - 1
        scored = [Scored(row, answer.ids[row + 1], owner) for row in range(start, len(context))]
        if prompts[item].ids[: len(context)] == context:
            there += [one._replace(row=item * longest + one.row) for one in scored]
        else:
            contexts.setdefault(context, (item, []))[1].extend(scored)
    _add(model, output, there, total)
    _read_on(model, output, prompts, contexts, total)
    _read_anew(model, contexts, total)
    return total


def _read_on(
    model: LoadedModel,
    output: Output,
    prompts: Sequence[Prompt],
    contexts: Contexts,
    total: Float64[np.ndarray, " answers"],
) -> None:
    """Score the contexts that can be read behind their prompts, and take them out."""
    endings: dict[tuple[int, ...], Ending] = {}
    for context, (item, scored) in contexts.items():
        ending = ending_of(context, min(one.row for one in scored), prompts[item].ids, item)
        if ending is not None and kept(output):
            endings[context] = ending
    longest = max(len(prompt.ids) for prompt in prompts)
    inputs = list(endings)
    for batch in plan_batches([longest + len(endings[one].ids) for one in inputs]) if inputs else ():
        some = [inputs[index] for index in batch]
        read = read_endings(model, output, [endings[context] for context in some])
        if read is None:
            return
        width = max(len(endings[context].ids) for context in some)
        rows = [
            one._replace(row=place * width + one.row - endings[context].shared)
            for place, context in enumerate(some)
            for one in contexts.pop(context)[1]
        ]
        _add(model, read, rows, total)


def _read_anew(model: LoadedModel, contexts: Contexts, total: Float64[np.ndarray, " answers"]) -> None:
    """Score contexts from their beginning."""
    inputs = list(contexts)
    for batch in plan_batches([len(ids) for ids in inputs]) if inputs else ():
        padded = pad([Prompt(inputs[index], 0, False, (), None) for index in batch], model.pad_id)
        width = padded.ids.shape[1]
        rows = [
            one._replace(row=place * width + one.row)
            for place, index in enumerate(batch)
            for one in contexts[inputs[index]][1]
        ]
        _add(model, model.run(padded), rows, total)


def _add(model: LoadedModel, output: Output, scored: Sequence[Scored], total: Float64[np.ndarray, " answers"]) -> None:
    """Add log-probabilities of single tokens to the sums that they belong to."""
    if scored:
        rows, tokens, owners = (np.array(column, dtype=np.int64) for column in zip(*sorted(scored), strict=True))
        (table,) = reduce_logits(model, output, [Reducer(rows, tokens, 1, _log_p)])
        np.add.at(total, owners, table[0])


def _log_p(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Log-probability of the token that followed each row, ``(1, rows)``."""
    return logits.log_softmax(-1).gather(-1, following.unsqueeze(-1)).T
