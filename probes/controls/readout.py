"""Alignment of final states with the unembedding rows that read them, and with directions that the softmax cannot see.

A state that points along the row of one token is sparse where that row is. So every change of sparsity may be a change
of what the model is about to say. These measures tell the two apart: cosines with the rows of the answer and of the
most likely tokens, the share of energy along the direction that changes the output least, the sparsity of the rows
themselves, and the state with a row projected out.

Everything is about ``final_norm``: the state after the learned gain (and the bias, where the norm has one), which is
what the unembedding multiplies. The gain is therefore in the state and not in the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from probes.models.batch import Batch
from probes.models.devices import weight_of
from probes.models.loading import LoadedModel, Output
from probes.vocabulary import names
from probes.vocabulary.sites import Site, SiteKind

TOP: Final = 10
GRAM_ROWS: Final = 4096
FEW_LOGITS: Final = 1 << 21  # numbers made at once: 8 MB, for whoever edits them holds several of them
AT_ONCE: Final = 256  # states whose ten rows are held together


_linalg: Final[Any] = torch.linalg  # it carries no types


class Unembedding(NamedTuple):
    """Rows and principal axes of the matrix that turns a final state into logits.

    Attributes:
        rows: (vocabulary, d), one per token, as the model has them.
        axes: (d, d) right singular vectors of the rows, largest first.
        null: (d,) unit vector that changes the softmax least: the last right singular vector of the rows less their
            mean (a change common to all logits is not seen).
        output: what the body returned for one token; states take the place of its own when the head is asked.
    """

    rows: Tensor
    axes: Float[np.ndarray, "d d"]
    null: Tensor
    output: Output


class Unread(NamedTuple):
    """Reason that a model's final states cannot be compared with the rows that read them."""

    reason: str


def unembedding_of(model: LoadedModel) -> Unembedding | Unread:
    """Find the rows that read the final state, or say why there are none."""
    if model.is_answering:
        return Unread("the head of an encoder-decoder model is not read yet")
    if not model.is_causal:
        return Unread("the model has no next-token head")
    head = cast("object", model.module.get_output_embeddings())
    weight = weight_of(head) if isinstance(head, nn.Module) else None
    site = Site(SiteKind.FINAL_NORM, model.n_layers)
    if not isinstance(weight, Tensor):
        return Unread("the head has no rows")
    if site not in model.sites:
        return Unread("the model has no final norm")
    rows = weight.detach().float()
    if rows.shape[1] != model.width(site):
        return Unread(f"the head reads {rows.shape[1]} coordinates and the final norm gives {model.width(site)}")
    gram = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), GRAM_ROWS):
        part = rows[start : start + GRAM_ROWS]
        gram += (part.T @ part).double()
    mean = rows.double().mean(dim=0)
    axes = principal(gram)
    null = principal(gram - len(rows) * torch.outer(mean, mean))[:, -1]
    one = torch.zeros((1, 1), dtype=torch.long)
    return Unembedding(rows, axes.cpu().numpy(), null.float(), model.run(Batch(one, torch.ones_like(one))))


def principal(symmetric: Tensor) -> Tensor:
    """Eigenvectors of a symmetric matrix as columns, largest eigenvalue first."""
    vectors: Tensor = _linalg.eigh(symmetric).eigenvectors  # torch keeps to the threads it was given, numpy does not
    return vectors.flip(1)


def logits_of(model: LoadedModel, head: Unembedding, states: Tensor) -> Iterator[Tensor]:
    """Logits of final states by the model's own head, a few rows at a time."""
    step = max(1, FEW_LOGITS // model.vocabulary)
    for start in range(0, len(states), step):
        part = states[start : start + step].to(model.device, model.dtype)[None]
        shown = type(head.output)(**{**head.output, "last_hidden_state": part})
        yield model.logits(shown, torch.arange(part.shape[1]))


class Readout(NamedTuple):
    """Tokens that the head ranks first for some states, and the ones that should follow.

    Attributes:
        answer: the token that should follow (or really did), -1 where there is none.
        top: (rows, 10) tokens of largest logit, the largest first.
    """

    answer: Tensor
    top: Tensor


def read_out(
    model: LoadedModel, head: Unembedding, states: Tensor, answer: Tensor, pause: Callable[[], None] = lambda: None
) -> Readout:
    """Ask the head about some final states; ``pause`` is called every few rows and may raise to break off."""
    top: list[Tensor] = []
    for logits in logits_of(model, head, states):
        top.append(logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices.cpu())
        pause()
    return Readout(answer, torch.cat(top))


def alignments(head: Unembedding, states: Tensor, found: Readout, row_hoyer: Tensor) -> dict[str, Tensor]:
    """The readout outcomes of each state; NaN where there is no answer.

    Args:
        head: the rows.
        states: (rows, d) at ``final_norm``, float32.
        found: what the head made of them.
        row_hoyer: (vocabulary,) Hoyer sparsity of the rows.
    """
    answered = found.answer >= 0
    answer, argmax = found.answer.clamp(min=0), found.top[:, 0]

    def cosine(tokens: Tensor) -> Tensor:
        return torch.cosine_similarity(states, head.rows[tokens], dim=-1, eps=0.0)

    nan = torch.tensor(torch.nan)
    return {
        names.ANSWER_ALIGNMENT: torch.where(answered, cosine(answer), nan),
        names.ARGMAX_ALIGNMENT: cosine(argmax),
        names.TOP10_ALIGNMENT: _span_cosine(states, head.rows, found.top),
        names.NULL_SHARE: (states @ head.null).square() / states.square().sum(-1),
        names.ANSWER_ROW_HOYER: torch.where(answered, row_hoyer[answer], nan),
        names.ARGMAX_ROW_HOYER: row_hoyer[argmax],
    }


def without_row(states: Tensor, rows: Tensor) -> Tensor:
    """Each state with the direction of its own row projected out.

    >>> without_row(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([[3., 0.]])
    """
    share = (states * rows).sum(-1, keepdim=True) / rows.square().sum(-1, keepdim=True)
    return states - share * rows


def _span_cosine(states: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    """Cosine between each state and the span of the rows of its tokens ``(n, k)``: 0 orthogonal to all, 1 inside."""
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(states), AT_ONCE)]
    return torch.cat([_cosine_of_span(states[part], rows[tokens[part]]) for part in parts])


def _cosine_of_span(states: Tensor, rows: Tensor) -> Tensor:
    dots = torch.einsum("nd,nkd->nk", states, rows).double()
    gram = torch.einsum("nkd,njd->nkj", rows, rows).double()
    inverse: Tensor = _linalg.pinv(gram, hermitian=True)
    inside = torch.einsum("nk,nkj,nj->n", dots, inverse, dots)
    return (inside.clamp(min=0).sqrt() / states.double().square().sum(-1).sqrt()).float()
