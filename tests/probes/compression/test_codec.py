"""Whatever goes in comes out, by another codec of the same model, and costs what the model says it costs."""

import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import constriction
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes.compression import compress, decompress
from probes.compression.archive import Codec, Input, codec_of, pack, unpack
from probes.compression.coding import Cost, _Waiting
from probes.compression.container import FRAME, MAGIC, Opened, is_plain
from probes.compression.distributions import CODER_FLOOR, ESCAPE_MASS, mass_kept
from probes.compression.fingerprint import Mode, fingerprint
from probes.errors import InputError
from probes.models.loading import load_model
from tests.probes.compression.conftest import SENTENCE, opened
from tests.tolerances import FLOAT64_SOLVED

# Scores of attention are told apart in steps of 2^-12, which moves a share by half a step of itself. The shares of all
# tokens together may all move one way: 40 positions in a row are the longest sum here.
STEP = 2.0**-12
WORST = 40 * STEP

CHUNK = 16
OVERHEAD_BITS = 64  # of a stream: constriction ends on a whole 32-bit word and may need one more
EXACT_COSTS = 1e-3  # of the bits, at most, as promised
OVERHEAD_SHARE = 5e-4  # probabilities have 24 bits in the coder


@pytest.fixture(scope="module")
def codecs(byte_model: Path, token_model: Path) -> dict[tuple[str, Mode], tuple[Codec, Codec]]:
    """For each model and mode one codec to write and one to read, loaded apart."""
    paths = {"bytes": byte_model, "tokens": token_model}
    modes: tuple[Mode, ...] = ("lockstep", "exact")
    return {
        (name, mode): (codec_of(str(path), mode), codec_of(str(path), mode))
        for name, path in paths.items()
        for mode in modes
    }


def written(codec: Codec, data: bytes, costs: list[Cost] | None = None, chunk: int = CHUNK) -> bytes:
    sink = BytesIO()
    inputs = [Input("a", len(data), lambda: BytesIO(data))]
    pack(inputs, sink, codec, chunk=chunk, batch=16, on_costs=None if costs is None else costs.extend)
    return sink.getvalue()


def read(codec: Codec, archive: bytes) -> bytes:
    sink = BytesIO()
    unpack(Opened(BytesIO(archive), "the archive"), codec, lambda _: sink)
    return sink.getvalue()


TEXTS = st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))


@settings(max_examples=8)
@given(st.one_of(st.binary(max_size=60), TEXTS), st.sampled_from(["bytes", "tokens"]))
@example(b"", "bytes")
@example(b"\x00", "tokens")
@example(bytes(range(256)), "tokens")
@example(bytes(300), "bytes")
@example(SENTENCE.encode() * 3, "tokens")
@example(b"cat \xff\xfe mat <bos> </s> \xf0\x9f\x98", "tokens")
def test_bytes_come_back(codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], data: bytes, model: str) -> None:
    modes: tuple[Mode, ...] = ("lockstep", "exact")
    for mode in modes:
        writer, reader = codecs[model, mode]
        assert read(reader, written(writer, data)) == data


@pytest.mark.parametrize("mode", ["lockstep", "exact"])
def test_a_chunk_longer_than_the_context_comes_back(
    codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], mode: Mode
) -> None:
    """48 tokens fit; rows of different lengths begin anew together."""
    writer, reader = codecs["bytes", mode]
    data = SENTENCE.encode() * 3
    assert read(reader, written(writer, data, chunk=110)) == data


def test_code_lengths_are_the_models_cross_entropy(codecs: dict[tuple[str, Mode], tuple[Codec, Codec]]) -> None:
    writer, _ = codecs["tokens", "lockstep"]
    data = SENTENCE.encode() * 4
    costs: list[Cost] = []
    archive = written(writer, data, costs, chunk=len(SENTENCE.encode()))
    symbols = writer.spelling.write(SENTENCE.encode()).symbols
    assert len(costs) == 4
    assert len(symbols) < 48  # the context, so that nothing is begun anew
    rows = torch.from_numpy(np.tile(symbols, (4, 1)))
    logits = [writer.reader.begin(4)] + [writer.reader.read(rows[:, t : t + 1]) for t in range(len(symbols) - 1)]
    entropy = torch.nn.functional.cross_entropy(
        torch.cat(logits, 1).double().flatten(0, 1), rows.flatten(), reduction="sum"
    )
    model_bits = math.fsum(float(cost.model_bits.sum()) for cost in costs)
    assert model_bits == pytest.approx(entropy.item() / math.log(2), rel=FLOAT64_SOLVED)
    ideal = 4 + math.fsum(float(cost.bits.sum()) for cost in costs)
    assert ideal == pytest.approx(model_bits + 4, rel=FLOAT64_SOLVED)
    # none of these symbols is so unlikely that the coder's floor would make its code shorter than the ideal one
    assert max(float(cost.bits.max()) for cost in costs) < 20
    (stream,) = list(Opened(BytesIO(archive), "a").streams())
    assert ideal <= 8 * len(stream) <= ideal * (1 + OVERHEAD_SHARE) + OVERHEAD_BITS


@pytest.mark.numeric
def test_exact_logits_are_equal_however_they_are_read(byte_model: Path) -> None:
    reader = codec_of(str(byte_model), "exact").reader
    rows = torch.from_numpy(np.random.default_rng(0).integers(3, 250, (16, 46)))
    threads = torch.get_num_threads()
    found: list[torch.Tensor] = []
    try:
        for count, size, step in ((1, 1, 1), (1, 16, 46), (2, 16, 23)):
            torch.set_num_threads(count)
            parts = [reader.begin(size)]
            parts += [reader.read(rows[:size, start : start + step]) for start in range(0, 46, step)]
            found.append(torch.cat(parts, 1)[:1])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found)


def test_exact_arithmetic_says_what_the_model_says(byte_model: Path) -> None:
    model = load_model(str(byte_model))
    reader = codec_of(model, "exact").reader
    rows = torch.from_numpy(np.random.default_rng(1).integers(3, 250, (2, 40)))
    found = torch.cat([reader.begin(2), reader.read(rows)], 1).log_softmax(-1)
    with torch.inference_mode():
        ids = torch.cat([torch.zeros((2, 1), dtype=torch.long), rows], 1)
        there = model.module(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)
    assert torch.allclose(found, there, atol=WORST)
    assert (found - there).abs().mean() < 2 * STEP


def test_another_model_is_refused_by_name(
    byte_model: Path, codecs: dict[tuple[str, Mode], tuple[Codec, Codec]]
) -> None:
    module, tokenizer = opened(byte_model)
    writer, _ = codecs["bytes", "lockstep"]
    archive = written(writer, b"The cat")
    one = load_model(module, tokenizer=tokenizer)
    assert decompress(one, archive) == b"The cat"
    weight = next(iter(module.parameters())).data.view(-1)
    weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf))
    with pytest.raises(InputError, match="weights"):
        decompress(load_model(module, tokenizer=tokenizer), archive)


def test_other_circumstances_are_refused_by_name(
    codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lockstep, exact = codecs["bytes", "lockstep"][0], codecs["bytes", "exact"][0]
    archives = written(lockstep, b"The cat"), written(exact, b"The cat")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert "cpu capability" in fingerprint(lockstep.model, "lockstep")
    with pytest.raises(InputError, match="cpu capability"):
        read(lockstep, archives[0])
    assert read(exact, archives[1]) == b"The cat"


@pytest.mark.parametrize("n_flips", [30, pytest.param(200, marks=pytest.mark.long)])
def test_flipped_bits_end_in_an_error(
    codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], n_flips: int, proof: Callable[[str], None]
) -> None:
    writer, reader = codecs["tokens", "lockstep"]
    data = SENTENCE.encode() * 2
    archive = written(writer, data)
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(archive), n_flips, replace=False).tolist():
        broken = bytearray(archive)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError):
            read(reader, bytes(broken))
    for end in range(0, len(archive), 97):
        with pytest.raises(InputError, match=r"cut short|damaged|not written by|version"):
            read(reader, archive[:end])
    proof(f"Compression: each of {n_flips} flipped bits of an archive ended in an error")


def test_a_stream_whose_checksum_was_mended_never_gives_garbage(
    codecs: dict[tuple[str, Mode], tuple[Codec, Codec]],
) -> None:
    writer, reader = codecs["tokens", "lockstep"]
    data = SENTENCE.encode()
    archive = written(writer, data)
    header = len(MAGIC) + 1
    start = header + FRAME.size + struct.unpack_from("<I", archive, header)[0]
    (length,) = struct.unpack_from("<I", archive, start)
    for bit in range(5, 8 * length, 8 * length // 6):
        stream = bytearray(archive[start + FRAME.size : start + FRAME.size + length])
        stream[bit // 8] ^= 1 << bit % 8
        mended = FRAME.pack(length, zlib.crc32(stream)) + bytes(stream)
        try:
            assert read(reader, archive[:start] + mended + archive[start + FRAME.size + length :]) == data
        except InputError:
            continue


def test_streams_of_large_inputs_begin_anew(
    codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probes.compression.archive.STREAM_BYTES", 100)
    writer, reader = codecs["bytes", "exact"]
    data = SENTENCE.encode() * 4
    archive = written(writer, data, chunk=8)
    assert len(list(Opened(BytesIO(archive), "a").streams())) == 2
    assert read(reader, archive) == data


def test_what_has_no_weight_left_still_has_a_code_length(codecs: dict[tuple[str, Mode], tuple[Codec, Codec]]) -> None:
    """Beside another logit that is 2,000 higher a float64 weight is 0; its ideal code length is 2,000 nats."""
    codec = codecs["bytes", "lockstep"][0]
    logits = torch.full((2, codec.reader.vocabulary), -torch.inf, dtype=torch.float64)
    logits[:, 3:5] = torch.tensor([[0.0, -2000.0], [0.0, -1.0]])
    encoder = constriction.stream.queue.RangeEncoder()
    for spelling, more in ((codec.spelling, 0.0), (without(codec, b"q").spelling, math.log2(1 + ESCAPE_MASS))):
        waiting = _Waiting(encoder, codec.reader, spelling, np.full((2, 2), 4))
        for time in range(2):
            waiting.add(logits, "tokens", np.arange(2), time)
        waiting.code()
        found = [2000 / math.log(2) + more, math.log2(1 + math.e) + more]
        assert waiting.bits == pytest.approx(np.array([found, found]).T, rel=FLOAT64_SOLVED)


def without(codec: Codec, data: bytes) -> Codec:
    """The same, with a tokenizer in which some bytes have no token."""
    tokens = codec.spelling.byte_tokens.copy()
    tokens[list(data)] = -1
    spelled = [b"" if set(one) & set(data) else one for one in codec.spelling.spelled]
    return codec._replace(spelling=replace(codec.spelling, byte_tokens=tokens, spelled=spelled))


@pytest.mark.parametrize("mode", ["lockstep", "exact"])
def test_bytes_without_a_token_are_escaped(codecs: dict[tuple[str, Mode], tuple[Codec, Codec]], mode: Mode) -> None:
    """Escapes among tokens, and in a group that is written half as tokens, half as bytes."""
    lost = "qmé".encode()
    writer, reader = (without(codec, lost) for codec in codecs["tokens", mode])
    assert mass_kept(300, escape=True) - mass_kept(300, escape=False) == pytest.approx(ESCAPE_MASS + CODER_FLOOR)
    data = SENTENCE.encode() + bytes(range(128, 144)) * 2 + lost + b" a quiet man.. " + bytes(range(256))
    costs: list[Cost] = []
    archive = written(writer, data, costs)
    assert read(reader, archive) == data
    ideal = len(costs) + math.fsum(float(cost.bits.sum()) for cost in costs)  # and a bit a chunk for the way
    (stream,) = list(Opened(BytesIO(archive), "a").streams())
    assert 8 * len(stream) <= ideal * (1 + OVERHEAD_SHARE) + OVERHEAD_BITS
    assert {cost.way for cost in costs} == {"tokens", "bytes"}
    tokens = [cost for cost in costs if cost.way == "tokens"]
    assert any(np.isnan(cost.model_bits).any() for cost in tokens)
    assert all(np.nanmax(np.append(cost.model_bits - cost.bits, -1)) < 0 for cost in tokens)


def test_nan_logits_are_refused(byte_model: Path) -> None:
    module, tokenizer = opened(byte_model)
    module.get_output_embeddings().weight.data.fill_(torch.nan)
    with pytest.raises(InputError, match="NaN"):
        compress(load_model(module, tokenizer=tokenizer), b"The cat")


def test_a_tokenizer_that_cannot_return_its_input_is_refused(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="cannot return its input"):
        compress(str(tiny_model), b"the cat")


def test_what_has_no_exact_form_is_refused(byte_model: Path) -> None:
    module, tokenizer = opened(byte_model)
    module.config.rope_parameters = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(InputError, match="rotary"):
        compress(load_model(module, tokenizer=tokenizer), b"The cat", mode="exact")


def test_names_lead_nowhere() -> None:
    assert is_plain("a file.txt")
    for name in ("", ".", "..", "a/b", "../a", "/etc/passwd", "a\\b", "c:d", "a\nb"):
        assert not is_plain(name)


def test_text_costs_less_than_random_bytes_under_a_model_that_knows_it(assets: Path) -> None:
    model = load_model(str(assets / "models" / "stories260K"))
    story = b"Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    noise = np.random.default_rng(0).bytes(len(story))
    for data, low, high in ((story, 0.3, 1.0), (noise, 8.0, 40.0)):
        costs: list[Cost] = []
        codec = codec_of(model)
        assert read(codec, written(codec, data, costs, chunk=2048)) == data
        bits = math.fsum(float(cost.bits.sum()) for cost in costs) / len(data)
        assert low < bits < high, (re.escape(str(data[:10])), bits)
    exact: list[Cost] = []
    lockstep: list[Cost] = []
    written(codec_of(model, "exact"), story, exact, chunk=2048)
    written(codec_of(model), story, lockstep, chunk=2048)
    sums = [math.fsum(float(cost.bits.sum()) for cost in costs) for costs in (exact, lockstep)]
    assert sums[0] == pytest.approx(sums[1], rel=EXACT_COSTS)
