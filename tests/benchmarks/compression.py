"""What coding costs: lockstep beside the bare loop of single steps, exact beside lockstep, and the coder alone.

A random model of the laboratory's smallest size; the bare loop reads the same tokens with the same cache and takes the
logits. Times are processor times of one thread, medians of interleaved rounds.
"""

import statistics
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from probes.compression.archive import Codec, Input, codec_of, pack, unpack
from probes.compression.container import Opened
from probes.extras import extra
from probes.lab.families import build_model
from probes.lab.recipe import Recipe, changed
from probes.lab.text_training import build_text_tokenizer
from probes.models.loading import LoadedModel, load_model
from tests.benchmarks.familiarity import seconds

CHUNK = 256
BATCH = 16
SYMBOLS = 200_000
TEXT = (Path(__file__).parent / "compression.py").read_text(encoding="utf-8")


def model_of(size: str) -> LoadedModel:
    tokenizer = build_text_tokenizer([TEXT], None)
    recipe = changed(Recipe(context_length=CHUNK), size=size)
    return load_model(build_model(recipe, vocabulary=len(tokenizer), seed=0), tokenizer=tokenizer)


def bare(model: LoadedModel, ids: torch.Tensor) -> torch.Tensor:
    """Logits after every token, read one by one with a cache, as generation does."""
    cache = None
    logits = torch.empty(0)
    with torch.inference_mode():
        for time in range(ids.shape[1]):
            output = model.module(input_ids=ids[:, time : time + 1], past_key_values=cache, use_cache=True)
            cache, logits = output.past_key_values, output.logits
    return logits


def whole(model: LoadedModel, ids: torch.Tensor) -> None:
    """The reference's way: a forward pass of all that was read before, for every symbol."""
    with torch.inference_mode():
        for time in range(1, ids.shape[1] + 1):
            model.module(input_ids=ids[:, :time], use_cache=False)


def packed(codec: Codec, data: bytes) -> bytes:
    sink = BytesIO()
    pack([Input("data", len(data), lambda: BytesIO(data))], sink, codec, chunk=CHUNK, batch=BATCH)
    return sink.getvalue()


def unpacked(codec: Codec, archive: bytes) -> None:
    sink = BytesIO()
    unpack(Opened(BytesIO(archive), "the archive"), codec, lambda _: sink)


def coding(size: str, rounds: int) -> Iterator[str]:
    model = model_of(size)
    lockstep, exact = codec_of(model), codec_of(model, "exact")
    data = (TEXT.encode() * 3)[: CHUNK * BATCH]
    rows = np.frombuffer(data, dtype=np.uint8).reshape(BATCH, CHUNK)
    ids = torch.from_numpy(lockstep.spelling.byte_tokens[rows])
    archives = packed(lockstep, data), packed(exact, data)
    bare(model, ids)
    ratios: dict[str, list[float]] = {"encode": [], "decode": [], "exact encode": [], "exact decode": [], "whole": []}
    for number in range(rounds):
        base = seconds(lambda: bare(model, ids))
        encode, decode = seconds(lambda: packed(lockstep, data)), seconds(lambda: unpacked(lockstep, archives[0]))
        ratios["encode"].append(encode / base)
        ratios["decode"].append(decode / base)
        ratios["exact encode"].append(encode / seconds(lambda: packed(exact, data)))
        ratios["exact decode"].append(decode / seconds(lambda: unpacked(exact, archives[1])))
        if number == 0:
            ratios["whole"].append(seconds(lambda: whole(model, ids)) / base)
    at = {name: statistics.median(values) for name, values in ratios.items()}
    yield f"{at['encode']:8.3f}  {size}: lockstep encode over the bare loop of single steps (<= 1.15)"
    yield f"{at['decode']:8.3f}  {size}: lockstep decode over the bare loop of single steps (<= 1.15)"
    yield f"{at['exact encode']:8.3f}  {size}: speed of exact over lockstep, encode (>= 0.8)"
    yield f"{at['exact decode']:8.3f}  {size}: speed of exact over lockstep, decode (>= 0.8)"
    yield f"{at['whole']:8.3f}  {size}: a forward pass of everything for every symbol, over the bare loop"
    yield f"{len(data) / encode:8.0f} bytes/s  {size}: lockstep encode, {BATCH} chunks of {CHUNK} side by side"


def coder(rounds: int) -> Iterator[str]:
    model = extra("constriction").stream.model.Categorical(perfect=False)
    stream = extra("constriction").stream.queue
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=(SYMBOLS, 64))
    symbols = rng.integers(0, 64, SYMBOLS).astype(np.int32)

    def encode() -> np.ndarray:
        encoder = stream.RangeEncoder()
        encoder.encode(symbols, model, weights)
        return np.asarray(encoder.get_compressed())

    words = encode()
    writing = [seconds(encode) for _ in range(rounds)]
    reading = [seconds(lambda: stream.RangeDecoder(words).decode(model, weights)) for _ in range(rounds)]
    yield f"{SYMBOLS / statistics.median(writing) / 1e6:8.2f} M/s  symbols coded, 64-ary, each with a table (>= 1)"
    yield f"{SYMBOLS / statistics.median(reading) / 1e6:8.2f} M/s  symbols decoded"


def main(rounds: int = 3) -> None:
    """Print the costs with what is promised of each."""
    torch.set_num_threads(1)
    for lines in (coder(rounds), coding("0.3M", rounds)):
        for line in lines:
            print(line, flush=True)
