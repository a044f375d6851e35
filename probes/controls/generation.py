"""Tokens that the model writes after some items: sparsity, surprisal and entropy of each, and whether it answers.

Some items of each group of the reservoir are gone on from, one token at a time, with hooks on
(:mod:`probes.capture.generation.generating`). Every written token has a row of ``token_measurements`` in basis
``generated``, under its index in prompt and continuation together, and its surprisal (bits, given all before it) and
next-token entropy (nats, after it was read) in ``familiarity_tokens``. Of an item with a target the text of the same
pass is graded: outcome ``generated_correct`` is 1 where the target stands in it as whole words, whatever its case.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from probes.capture.generation.generating import collect_generation
from probes.controls.request import Ask
from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.records.schema import SCHEMAS, token_measurements
from probes.vocabulary import names


class Written(NamedTuple):
    """Rows about what was written.

    Attributes:
        tokens: of ``token_measurements``.
        told: of ``familiarity_tokens``.
        outcomes: by name, one value per item of the reservoir.
    """

    tokens: pa.Table
    told: pa.Table
    outcomes: dict[str, np.ndarray]


FACTS: Final = {names.SURPRISAL_WRITTEN: "surprisal", names.ENTROPY_WRITTEN: "next_token_entropy"}


def generated(model: LoadedModel, ask: Ask, groups: np.ndarray) -> Written:
    """Let the model go on from some items of every group.

    Raises:
        InputError: for a model that writes no text, or where no prompt leaves room for the tokens.
    """
    asked = ask.generate
    if asked is None:
        raise InputError("generation was not asked for")
    room = model.context_length
    fits = [room is None or prompt.end + asked.tokens <= room for prompt in ask.prompts]
    chosen = [
        int(at)
        for group in dict.fromkeys(groups.tolist())
        for at in [at for at in np.flatnonzero(groups == group) if fits[at]][: asked.per_group]
    ]
    if not chosen:
        raise InputError(f"no prompt leaves room for {asked.tokens} tokens: {model.name} reads at most {room}")
    ids = [list(ask.prompts[at].ids[: ask.prompts[at].end]) for at in chosen]
    metrics = [str(metric) for metric in ask.metrics]
    found = collect_generation(
        model,
        ids,
        [str(site) for site in ask.sites],
        metrics,
        max_new_tokens=asked.tokens,
        sample=asked.seed,
        bos="none",
    )
    items = [ask.members[at].example_id for at in chosen]
    return Written(
        _token_rows(found.measurements, ask.run_id, items, metrics),
        _told_rows(found.tokens, ask.run_id, items),
        _outcomes(model, ask, chosen, found.texts, found.tokens),
    )


def is_answered(text: str, target: str) -> bool:
    """True where the target stands in a text as whole words, whatever its case and the space between them.

    >>> is_answered("So it is  forty two.", " Forty two"), is_answered("It is 142.", "42"), is_answered("x", " ")
    (True, False, False)
    """
    words = target.split()
    if not words:
        return False
    pattern = r"\s+".join(map(re.escape, words))
    return re.search(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE) is not None


def _token_rows(rows: pd.DataFrame, run_id: str, items: list[str], metrics: list[str]) -> pa.Table:
    own = rows.iloc[np.flatnonzero(rows["position"].to_numpy(object) == names.GENERATED)]
    place = own.iloc[:: len(metrics)]  # melted: metrics go fastest
    values = own["value"].to_numpy(np.float32).reshape(-1, len(metrics))
    frame = pd.DataFrame(
        {
            "run_id": run_id,
            "example_id": [items[int(item)] for item in place["example_id"].astype(str)],
            "site": place["site"].astype(str).to_numpy(object),
            "layer": place["layer"].to_numpy(np.int16),
            "unit": place["unit"].to_numpy(np.int32),
            "basis": names.GENERATED,
            "token": place["token"].to_numpy(np.int32),
            **dict(zip(metrics, values.T, strict=True)),
        }
    )
    return pa.Table.from_pandas(frame, schema=token_measurements(metrics), preserve_index=False)


def _told_rows(tokens: pd.DataFrame, run_id: str, items: list[str]) -> pa.Table:
    parts = [
        pd.DataFrame(
            {
                "run_id": run_id,
                "example_id": [items[int(item)] for item in tokens["example_id"].astype(str)],
                "token": tokens["token"].to_numpy(np.int32),
                "char_start": -1,
                "char_end": -1,
                "measure": name,
                "corpus": "",
                "value": tokens[column].to_numpy(np.float64),
            }
        )
        for name, column in FACTS.items()
    ]
    return pa.Table.from_pandas(pd.concat(parts), schema=SCHEMAS["familiarity_tokens"], preserve_index=False)


def _outcomes(
    model: LoadedModel, ask: Ask, chosen: list[int], texts: tuple[str, ...], tokens: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Number of tokens written, and whether the target is among them, of the items that were gone on from."""
    found = {name: np.full(len(ask.members), np.nan) for name in (names.WRITTEN_TOKENS, names.WRITTEN_CORRECT)}
    counts = tokens.groupby(tokens["example_id"].astype(int)).size()
    for number, (at, text) in enumerate(zip(chosen, texts, strict=True)):
        prompt = ask.prompts[at]
        found[names.WRITTEN_TOKENS][at] = float(counts[number])
        if prompt.target_start is not None and model.tokenizer is not None:
            target = "".join(str(model.tokenizer.decode(list(prompt.ids[prompt.target_start :]))))
            found[names.WRITTEN_CORRECT][at] = float(is_answered(text, target))
    return found
