"""States of a model at one site, read while it runs, and what is remembered of them.

The state that a neighbour search is about is the one the model answers from: the last token of a text. What is
remembered is float32 at one site; nothing else of the forward pass is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.prompts import encode, pad
from probes.errors import InputError
from probes.familiarity.datastore import Datastore, Gaussian
from probes.models.hooks import watching
from probes.models.loading import LoadedModel
from probes.models.templates import Template
from probes.models.tokens import BosPolicy
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites


@dataclass(frozen=True, eq=False)
class KnownStates:
    """States remembered of texts that a model has read. Make one with :func:`remember`.

    Attributes:
        name: of the texts, as tables hold it.
        site: where the states were read.
        store: the states.
        cloud: the same as a Gaussian.
        background: states of text at large as a Gaussian, None if none were given.
    """

    name: str
    site: Site
    store: Datastore
    cloud: Gaussian
    background: Gaussian | None = None


def remember(
    model: LoadedModel,
    texts: Mapping[str, str],
    *,
    site: str,
    name: str = "known",
    background: Sequence[str] = (),
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
) -> KnownStates:
    """Remember the state of the last token of every text.

    Args:
        model: the model.
        texts: texts it is supposed to know, by document id; an item with the same id is never its own neighbour.
        site: one site, e.g. ``resid_post.3``.
        name: how tables call these texts.
        background: texts at large, for the relative Mahalanobis distance.
        max_tokens: cut texts to this many tokens.
        bos: what to do about the beginning-of-sequence token.
        template: ``chat`` puts every text into the tokenizer's chat template, as the items are that are compared.

    Raises:
        InputError: if the site is not one place, or there are too few texts.
    """
    (place, *more) = resolve_sites(model, [site])
    if more:
        raise InputError(f"known states are kept at one site, and {site!r} is {1 + len(more)}; name one layer")

    def last(these: Sequence[str]) -> Float32[np.ndarray, "texts width"]:
        prompts = [encode(model, text, max_tokens=max_tokens, bos=bos, template=template) for text in these]
        found = read_states(model, prompts, place, [prompt.text[-1:] for prompt in prompts])
        return np.concatenate(found)

    own = last(list(texts.values()))
    at_large = Gaussian.fit(last(background)) if background else None
    return KnownStates(name, place, Datastore.build(own, list(texts)), Gaussian.fit(own), at_large)


def read_states(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    site: Site,
    tokens: Sequence[Sequence[int]],
    *,
    batch_size: BatchSize = "auto",
) -> list[Float32[np.ndarray, "tokens width"]]:
    """States of some tokens of each prompt.

    Args:
        model: the model.
        prompts: encoded prompts, none longer than the context.
        site: where to look.
        tokens: indices into the ids of each prompt.
        batch_size: prompts per forward pass.

    Raises:
        CaptureError: if the site did not show exactly one vector per token.
    """
    found: list[Float32[np.ndarray, "tokens width"]] = [np.empty((0, 0), dtype=np.float32)] * len(prompts)
    for batch in plan_batches([len(prompt.ids) for prompt in prompts], batch_size):
        padded = pad([prompts[item] for item in batch], model.pad_id)
        longest = padded.ids.shape[1]
        asked = [tokens[item] for item in batch]
        shown: list[list[Float32[np.ndarray, "tokens width"]]] = []

        def look(
            _site: Site,
            vectors: Tensor,
            asked: list[Sequence[int]] = asked,
            longest: int = longest,
            shown: list[list[Float32[np.ndarray, "tokens width"]]] = shown,
        ) -> None:
            shown.append(rows_of(vectors, asked, longest))

        with watching(model.taps, [site], look, rows=padded.ids.numel()):
            model.run(padded)
        for item, part in zip(batch, shown[0], strict=True):
            found[item] = part
    return found


def rows_of(
    vectors: Tensor, tokens: Sequence[Sequence[int]], longest: int
) -> list[Float32[np.ndarray, "tokens width"]]:
    """States of some tokens of each prompt, out of those of a padded batch.

    Args:
        vectors: what a hook shows, ``(prompts * longest, width)``.
        tokens: indices into the ids of each prompt.
        longest: tokens of the longest prompt.
    """
    rows = [place * longest + token for place, own in enumerate(tokens) for token in own]
    kept = vectors[torch.tensor(rows, dtype=torch.long, device=vectors.device)].float().cpu().numpy()
    return np.split(kept, np.cumsum([len(own) for own in tokens])[:-1])
