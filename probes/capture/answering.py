"""Outcomes of encoder-decoders: the encoder reads the prompt, the decoder predicts the target.

In the measured pass both stacks read the prompt, so that their rows are about the same tokens, and the encoder does not
see the target. For outcomes the decoder alone runs once more on the encoder's output, as it does when the model is
used: from its start token on, fed the target. Its first row predicts the target's first token, so it stands for the
last row of the prompt; a decoder predicts no other token of a prompt, and outcomes of those are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64

from probes.capture.logits import Reducer
from probes.capture.prompts import pad
from probes.errors import InputError
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.prompt import Prompt

STARTS: Final = ("decoder_start_token_id", "bos_token_id")


def reduce_answers(
    model: LoadedModel, output: Output, prompts: Sequence[Prompt], reducers: Sequence[Reducer]
) -> list[Float64[np.ndarray, "numbers rows"]]:
    """Reduce the logits that a decoder gives for targets; NaN for all rows of the prompts but the last.

    Args:
        model: the model that ran.
        output: what :meth:`LoadedModel.run` returned for the padded prompts.
        prompts: the batch.
        reducers: who reads them; rows count tokens of the prompts and their targets, ``(prompts * longest)``.

    Raises:
        InputError: if the configuration does not say what a decoder begins with.
    """
    start = _start(model)
    answers = [Prompt((*start, *prompt.ids[prompt.end :]), len(start), False, (), None) for prompt in prompts]
    decoder, encoder = pad(answers, model.pad_id), pad(prompts, model.pad_id)
    module: Any = model.module
    with torch.inference_mode():
        logits: torch.Tensor = module(
            encoder_outputs=(output.encoder_last_hidden_state,),
            attention_mask=encoder.asked.to(model.device) if encoder.asked is not None else None,
            decoder_input_ids=decoder.ids.to(model.device),
            decoder_attention_mask=decoder.mask.to(model.device),
            use_cache=False,
        ).logits
    ends = np.array([prompt.end - 1 for prompt in prompts])
    tables: list[Float64[np.ndarray, "numbers rows"]] = []
    for reducer in reducers:
        item, token = np.divmod(reducer.rows, encoder.ids.shape[1])
        step = token - ends[item]
        predicted = step >= 0
        found = np.full((reducer.numbers, len(item)), np.nan)
        if predicted.any():
            chosen = logits[item[predicted], step[predicted] + len(start) - 1].float()
            following = torch.from_numpy(reducer.following[predicted]).to(chosen.device)
            found[:, predicted] = reducer.reduce(chosen, following).double().cpu().numpy()
        tables.append(found)
    return tables


def _start(model: LoadedModel) -> tuple[int, ...]:
    """The tokens that a decoder begins with: its start token, and one that generation forces after it (BART)."""
    settings = [getattr(model.module, "generation_config", None), model.module.config]
    first = _setting(settings, STARTS)
    if first is None:
        raise InputError(f"{model.name} does not say what its decoder begins with (decoder_start_token_id)")
    forced = _setting(settings, ("forced_bos_token_id",))
    return (first,) if forced is None else (first, forced)


def _setting(settings: Sequence[object], names: Sequence[str]) -> int | None:
    found = (getattr(source, name, None) for name in names for source in settings)
    return next((value for value in found if isinstance(value, int)), None)
