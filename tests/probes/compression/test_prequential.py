"""A model that is trained while it codes: the stream is the area under its loss curve, and is read without weights."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from probes.compression.again import fresh_process
from probes.compression.container import Opened, Writer
from probes.compression.prequential import Description, Plan, codec_in_training, describe, recall
from probes.errors import InputError
from tests.probes.compression.conftest import SENTENCE
from tests.probes.compression.test_codec import OVERHEAD_BITS, OVERHEAD_SHARE
from tests.tolerances import FLOAT64

PLAN = Plan(learning_rate=3e-3, warmup_steps=5, replays=1)
DATA = SENTENCE.encode() * 8 + bytes(range(256)) + b"\xff\xfe"
FLOAT32_SUM = 1e-4  # of a few thousand float32 log-probabilities of two kernels, which agree to 1e-5 each


@pytest.fixture(scope="module")
def description() -> Description:
    return describe(DATA, PLAN, chunk=24, batch=4)


@pytest.mark.numeric
def test_the_description_is_the_area_under_the_loss_curve(description: Description) -> None:
    """The theorem: sum of coded losses = description length, which is the length of a stream that can be read."""
    area = float((description.losses * description.n_symbols).sum()) / math.log(2)
    n_chunks = -(-len(DATA) // 24)
    assert description.bits == pytest.approx(area + n_chunks, rel=FLOAT64)  # one bit says how a chunk was written
    length = 8 * len(description.stream)
    assert description.bits <= length <= description.bits * (1 + OVERHEAD_SHARE) + OVERHEAD_BITS
    assert recall(description.archive) == DATA


def test_the_losses_are_those_of_the_training_by_itself(description: Description) -> None:
    """Trained again without any coding: the same losses, from whole texts instead of single steps."""
    codec = codec_in_training(PLAN, chunk=24)
    assert codec.learner is not None
    chunks = [DATA[start : start + 24] for start in range(0, len(DATA), 24)]
    rows = -(-len(chunks) // -(-len(chunks) // 4))
    losses: dict[int, float] = {}
    for number, start in enumerate(range(0, len(chunks), rows)):
        group = chunks[start : start + rows]
        total, count = 0.0, 0
        for chunk in group:
            ids = torch.from_numpy(codec.spelling.byte_tokens[np.frombuffer(chunk, dtype=np.uint8)])
            with torch.inference_mode():
                logits = codec.model.module(
                    input_ids=torch.cat([torch.zeros(1, dtype=torch.long), ids[:-1]])[None]
                ).logits
            if codec.spelling.write(chunk).way == "tokens":
                total += float(cross_entropy(logits[0].double(), ids, reduction="sum"))
                count += len(chunk)
        if count == sum(map(len, group)):  # of what is no text a symbol is chosen among bytes alone
            losses[number] = total / count
        codec.learner.learn(group)
    assert len(losses) > 5
    assert list(losses.values()) == pytest.approx(description.losses[list(losses)].tolist(), rel=FLOAT32_SUM)
    assert losses[4] < losses[0] - 0.5  # it has learned something of the sentence by then


def test_another_training_is_refused_or_ends_in_an_error(description: Description) -> None:
    opened = Opened(BytesIO(description.archive), "a")
    header, streams = opened.header, list(opened.streams())
    assert header.trained is not None
    for name, value, said in (
        ("seed", 1, "weights"),
        ("size", "1M", "weights"),
        ("learning_rate", 1e-3, "corrupted|damaged|sha256"),
        ("size", "2M", "sizes"),
        ("seed", "1", "header"),
    ):
        sink = BytesIO()
        writer = Writer(sink, replace(header, trained={**header.trained, name: value}))
        for stream in streams:
            writer.stream(stream)
        writer.finish([hashlib.sha256(DATA).hexdigest()])
        with pytest.raises(InputError, match=said):
            recall(sink.getvalue())


def test_what_cannot_be_trained_is_refused() -> None:
    for wrong in ({"size": "2M"}, {"learning_rate": 0.0}, {"warmup_steps": 0}, {"replays": -1}):
        with pytest.raises(InputError):
            Plan(**wrong)


@pytest.mark.long
def test_the_theorem_on_code_of_the_library(proof: Callable[[str], None]) -> None:
    from probes.suites.sources.media import packaged

    source = packaged("code", np.random.default_rng(0))
    data = b"".join(next(source).data for _ in range(10))
    found = describe(data)
    area = float((found.losses * found.n_symbols).sum()) / math.log(2)
    assert found.bits <= 8 * len(found.stream) <= found.bits * (1 + OVERHEAD_SHARE) + OVERHEAD_BITS
    with fresh_process() as process:
        assert process.run(recall, found.archive) == data
    proof(
        f"Compression, prequential: {len(data)} bytes of code in {8 * len(found.stream)} bits, the area under the loss "
        f"curve {area:.0f} bits, read by a fresh process that was given no weights"
    )
