"""The logits of a finished pass, made once for everything that reads them.

The logits of a batch over a full vocabulary are larger than everything else in the pass together. So whatever needs
them says which rows it needs and what to make of a few of them at a time; the union of all rows goes through the head
once, in chunks, and each chunk is gone before the next one comes. Outcomes and the familiarity of a prompt are two such
readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from probes.models.loading import LoadedModel, Output

LOGITS_AT_A_TIME: Final = 1 << 23  # 32 MB in float32: 166 rows of GPT-2's vocabulary

Reduce = Callable[[Tensor, Tensor], Tensor]


class Reducer(NamedTuple):
    """A reader of logits.

    Attributes:
        rows: flat indices into ``(prompts * longest)``, ascending.
        following: the token that came after each row, -1 where none did.
        numbers: how many numbers it keeps of a row.
        reduce: from logits ``(rows, vocabulary)`` and the tokens that followed to ``(numbers, rows)``.
    """

    rows: Int64[np.ndarray, " rows"]
    following: Int64[np.ndarray, " rows"]
    numbers: int
    reduce: Reduce


def reduce_logits(
    model: LoadedModel, output: Output, reducers: Sequence[Reducer]
) -> list[Float64[np.ndarray, "numbers rows"]]:
    """Send the rows that anything needs through the head, a chunk at a time.

    Args:
        model: the model that ran.
        output: what :meth:`LoadedModel.run` returned for the padded prompts.
        reducers: who reads them.

    Returns:
        What each reducer made of its rows.
    """
    flat = np.unique(np.concatenate([reducer.rows for reducer in reducers]))
    at_a_time = max(1, LOGITS_AT_A_TIME // model.vocabulary)
    parts = [[torch.empty(reducer.numbers, 0, dtype=torch.float64)] for reducer in reducers]
    for start in range(0, len(flat), at_a_time):
        chunk = flat[start : start + at_a_time]
        logits = model.logits(output, torch.from_numpy(chunk))
        for found, reducer in zip(parts, reducers, strict=True):
            first, last = np.searchsorted(reducer.rows, [chunk[0], chunk[-1] + 1])
            if first < last:
                there = torch.from_numpy(np.searchsorted(chunk, reducer.rows[first:last]))
                own = logits if len(there) == len(chunk) else logits.index_select(0, there.to(logits.device))
                following = torch.from_numpy(reducer.following[first:last]).to(logits.device)
                found.append(reducer.reduce(own, following).double().cpu())
    return [torch.cat(found, dim=1).numpy() for found in parts]
