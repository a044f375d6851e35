"""Writing with a memory: the argmax of the mixed distribution, caches that agree with whole texts, and a codec."""

from io import BytesIO

import numpy as np
import pytest
import torch

from probes.compression.archive import Input, pack, unpack
from probes.compression.container import Opened
from probes.errors import InputError
from probes.memory.comparison.counting import CountMemory
from probes.memory.decoder import DecoderMemory
from probes.memory.generation import MixedReader, codec_beside, write
from probes.memory.interpolation import Interpolated, encode_text
from probes.memory.knn import remember_corpus
from probes.memory.recall import Weight
from probes.memory.states import read_rows
from tests.probes.memory.conftest import TEXTS, make_model
from tests.tolerances import TWO_ROUTES

PROMPT = "The dog sat"


@pytest.fixture(scope="module", params=["knn", "decoder"])
def beside(request, model):
    if request.param == "decoder":
        return Interpolated(model, DecoderMemory(make_model(9)), Weight((0.6,)), 0.85)
    memory = remember_corpus(model, {name: encode_text(model, text) for name, text in TEXTS.items()}, k=5)
    near = float(np.median(memory.temperatures))
    return Interpolated(model, memory, Weight((0.7, 0.2), (near**0.5,)), near)


def mixed_by_hand(beside, ids):
    """The interpolated distribution after some ids, without caches."""
    with torch.inference_mode():
        base = beside.model.module(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        if isinstance(beside.memory, DecoderMemory):
            logits = beside.memory.decoder.module(input_ids=torch.tensor([ids])).logits[0, -1].double()
            own, distance = (logits / beside.temperature).softmax(-1), np.array([np.nan])
        else:
            prompt = encode_text(beside.model, "x")
            states = read_rows(beside.model, beside.memory.place, [type(prompt)(tuple(ids), 1, False, (), None)])[0][
                -1:
            ]
            own = torch.from_numpy(beside.memory.distribution(states, beside.temperature))[0]
            distance = np.sqrt(beside.memory.vote(states).square[:, 0])
    share = float(beside.weight.at(distance)[0])
    return (1 - share) * base + share * own


def test_what_is_written_is_the_likeliest_of_the_mixed_distribution(beside):
    found = write(beside, PROMPT, max_new_tokens=8)
    ids = list(encode_text(beside.model, PROMPT).ids)
    assert len(found.ids) == 8
    for token, log2_p in zip(found.ids, found.log2_p, strict=True):
        p = mixed_by_hand(beside, ids)
        assert token == int(p.argmax())
        assert 2**log2_p == pytest.approx(float(p[token]), rel=TWO_ROUTES)
        ids.append(token)
    assert found.text == beside.model.tokenizer.decode(list(found.ids), skip_special_tokens=True)


def test_a_stream_of_model_and_memory_is_read_again(beside):
    pytest.importorskip("constriction", reason="needs the extra `compression`")
    data = TEXTS["cat"].encode()
    codec, sink, back = codec_beside(beside), BytesIO(), BytesIO()
    packed = pack([Input("data", len(data), lambda: BytesIO(data))], sink, codec, chunk=40)
    unpack(Opened(BytesIO(sink.getvalue()), "the archive"), codec, lambda _: back)
    assert back.getvalue() == data
    assert np.isfinite(packed.ideal_bits)
    other = codec_beside(Interpolated(beside.model, beside.memory, Weight((0.1,)), beside.temperature))
    with pytest.raises(InputError):
        unpack(Opened(BytesIO(sink.getvalue()), "the archive"), other, lambda _: BytesIO())


def test_what_cannot_be_written_with_is_refused(model, beside):
    with pytest.raises(InputError, match="needs a prompt"):
        write(beside, "", max_new_tokens=3)
    from probes.corpus import Tokens, build_index

    counts = CountMemory(build_index(TEXTS.values(), alphabet=Tokens(model.tokenizer)), 3)
    with pytest.raises(InputError, match="cannot be written with"):
        MixedReader(Interpolated(model, counts, Weight((0.5,)), 1.0))
