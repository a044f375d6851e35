"""Outcomes of encoder-decoders equal transformers' own loss, whatever stands beside a prompt."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, T5Config, T5ForConditionalGeneration

from probes.capture import read_batch
from probes.errors import InputError
from probes.models import load_model
from probes.vocabulary.outcomes import DEFAULT_OUTCOMES, OUTCOMES
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import resolve_sites
from tests.probes.models.families import build
from tests.tolerances import LOGITS, NEAR_ZERO, REBATCHED

TARGETS = ((5, 6, 7), (8,), (9, 10, 11, 12), ())
LENGTHS = (6, 3, 9, 5)
NAMES = ("nll", "correct", "margin", "next_token_entropy", "mean_nll", "mean_next_token_entropy")


def prompts_with(targets=TARGETS) -> list[Prompt]:
    rng = np.random.default_rng(0)
    found = []
    for length, target in zip(LENGTHS, targets, strict=True):
        ids = (*rng.integers(3, 99, length).tolist(), *target)
        found.append(Prompt(ids, 0, False, (-1,) * len(ids), length if target else None))
    return found


@pytest.fixture(params=["t5", "t5_gated", "bart"], scope="module")
def model(request):
    with torch.random.fork_rng():
        module = build(request.param)
    if module.config.model_type == "t5":
        module.config.decoder_start_token_id = 0  # as its checkpoints say; the bare configuration does not
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and module.config.model_type == "bart":
                parameter.mul_(8)  # as it is drawn, what the encoder says moves the logits by 1e-5
    return load_model(module)


def read(model, prompts, outcomes=NAMES):
    return read_batch(model, prompts, sites=(), positions=(), metrics=(), outcomes=outcomes).outcomes


def reference(model, prompt: Prompt) -> torch.Tensor:
    """Logits of every step, one prompt alone, by transformers' own way from labels to decoder inputs."""
    module, target = model.module, prompt.ids[prompt.end :]
    labels = torch.tensor([[*forced(model), *target, 1]])  # one more label: the step after the target is there too
    with torch.inference_mode():
        logits = module(input_ids=torch.tensor([prompt.ids[: prompt.end]]), labels=labels).logits[0]
    return logits[len(forced(model)) :]


def forced(model) -> tuple[int, ...]:
    """What generation makes BART's decoder write first."""
    token = getattr(model.module.generation_config, "forced_bos_token_id", None)
    return () if token is None else (token,)


def test_outcomes_are_those_of_the_decoder_that_reads_the_target(model):
    prompts = prompts_with()
    found = read(model, prompts)
    for index, prompt in enumerate(prompts):
        logits = reference(model, prompt)
        target = torch.tensor(prompt.ids[prompt.end :], dtype=torch.long)
        log_p = logits.log_softmax(-1)
        entropy = -(log_p[0].exp() * log_p[0]).sum()
        assert found["next_token_entropy"][index] == pytest.approx(float(entropy), rel=REBATCHED)
        if not len(target):
            assert np.isnan([found[name][index] for name in ("nll", "correct", "margin")]).all()
            continue
        own = log_p[: len(target)].gather(1, target[:, None])
        assert found["nll"][index] == pytest.approx(float(-own.mean()), rel=REBATCHED)
        rest = logits[: len(target)].scatter(1, target[:, None], -torch.inf).amax(1)
        lead = logits[: len(target)].gather(1, target[:, None])[:, 0] - rest
        assert found["margin"][index] == pytest.approx(float(lead.min()), abs=REBATCHED)
        assert found["correct"][index] == float((lead > 0).all())
    assert np.isnan(found["mean_nll"]).all()
    assert np.isnan(found["mean_next_token_entropy"]).all()


def test_a_target_that_is_what_the_model_writes_is_correct(model):
    (prompt, *_) = prompts_with()
    ids = prompt.ids[: prompt.end]
    written: list[int] = []
    for _ in range(2):
        tried = Prompt((*ids, *written, 3), 0, False, (), prompt.end)
        written.append(int(reference(model, tried)[len(written)].argmax()))
    found = read(model, [Prompt((*ids, *written), 0, False, (), prompt.end)])
    assert found["correct"].tolist() == [1.0]
    assert found["margin"][0] > 0


def test_outcomes_depend_on_the_prompt(model):
    prompts = [Prompt((*ids, 9, 10), 0, False, (-1,) * 5, 3) for ids in ((5, 6, 7), (50, 60, 70))]
    for values in read(model, prompts, DEFAULT_OUTCOMES).values():
        assert abs(values[0] - values[1]) > 0.01


def test_batch_and_padding_change_no_outcome(model):
    prompts = prompts_with()
    together = read(model, prompts, DEFAULT_OUTCOMES)
    alone = [read(model, [prompt], DEFAULT_OUTCOMES) for prompt in prompts]
    for name in DEFAULT_OUTCOMES:
        np.testing.assert_allclose(together[name], [one[name][0] for one in alone], rtol=REBATCHED)


def test_the_encoder_does_not_see_the_target(model):
    sites = resolve_sites(model, ["encoder.resid_post"])
    asked = {"sites": sites, "positions": "last", "metrics": ()}
    states = [(site, "last") for site in sites]
    with_targets, without = (
        read_batch(model, prompts_with(targets), **asked, states=states).kept for targets in (TARGETS, ((),) * 4)
    )
    for one, other in zip(with_targets, without, strict=True):
        np.testing.assert_allclose(one.data.view(np.float32), other.data.view(np.float32), rtol=LOGITS, atol=NEAR_ZERO)


def test_what_it_cannot_answer_is_said(model):
    with pytest.raises(InputError, match="answers of an encoder-decoder are not compared"):
        read(model, prompts_with(), ["choice_correct"])
    headless = load_model(AutoModel.from_config(model.module.config))
    with pytest.raises(InputError, match="has no next-token head"):
        read(headless, prompts_with(), ["nll"])
    assert set(NAMES) < set(OUTCOMES)


def test_a_decoder_whose_start_is_not_known_is_not_guessed():
    shape = {"vocab_size": 99, "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = load_model(T5ForConditionalGeneration(T5Config(**shape)))
    with pytest.raises(InputError, match=r"does not say what its decoder begins with \(decoder_start_token_id\)"):
        read(model, prompts_with(), ["nll"])
