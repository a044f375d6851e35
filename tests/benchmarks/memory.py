"""What memories cost: votes of kNN-LM beside faiss alone, a decoder beside its own forward pass, bytes, writing.

Keys are random, of the width of the laboratory's model of documentation. Times are processor times of one thread,
medians of interleaved rounds.
"""

import statistics
from collections.abc import Iterator

import numpy as np
import torch

from probes.compression.reading import Lockstep, Reader
from probes.familiarity.datastore import Datastore
from probes.lab.families import build_model
from probes.memory.comparison.seeds import DOCUMENTATION
from probes.memory.decoder import DecoderMemory
from probes.memory.generation import MixedReader
from probes.memory.interpolation import Interpolated
from probes.memory.knn import NEIGHBOURS, KnnMemory
from probes.memory.recall import Weight
from probes.models.loading import load_model
from tests.benchmarks.capture import random_prompts
from tests.benchmarks.familiarity import KEYS, WIDTH, bare_logits, seconds

QUERIES = 512
WRITTEN = 64  # tokens
WRITINGS = 5  # rounds


def votes(rounds: int) -> Iterator[str]:
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    model = load_model(build_model(DOCUMENTATION, vocabulary=259, seed=0))
    states = rng.standard_normal((KEYS, WIDTH)).astype(np.float32)
    store = Datastore.build(states, [str(n // 1000) for n in range(KEYS)])
    memory = KnnMemory(model, "ffn_input", store, rng.integers(0, 259, KEYS))
    bare = faiss.IndexFlatL2(WIDTH)
    bare.add(store.keys)
    queries = rng.standard_normal((QUERIES, WIDTH)).astype(np.float32)
    ratios = []
    memory.vote(queries[:1])
    for _ in range(rounds):
        alone = seconds(lambda: bare.search(queries, NEIGHBOURS))
        own = seconds(lambda: memory.vote(queries).log_weights(1.0))
        ratios.append(alone / own)
    yield f"{statistics.median(ratios):8.3f}  kNN-LM queries per second over those of faiss alone (>= 0.95)"
    yield f"{QUERIES / own:8.0f} /s  kNN-LM queries, {KEYS} keys of width {WIDTH}, k = {NEIGHBOURS}"
    yield f"{memory.n_bytes / KEYS:8.0f}  bytes per key"


def decoding(rounds: int) -> Iterator[str]:
    small = load_model(build_model(DOCUMENTATION, vocabulary=259, seed=1))
    memory, prompts = DecoderMemory(small), random_prompts(small, 16, 250)
    ratios = []
    memory.recall(prompts, [1.0])
    for _ in range(rounds):
        bare = seconds(lambda: bare_logits(small, prompts))
        own = seconds(lambda: memory.recall(prompts, [1.0]))
        ratios.append(own / bare)
    yield f"{statistics.median(ratios):8.3f}  time that a decoder adds over its own forward pass with logits (<= 1.10)"


def written(reader: Reader) -> float:
    """Processor time per token of writing on, one token after another with caches, milliseconds."""
    reader.begin(1)
    logits = reader.read(torch.tensor([[1]]))

    def go_on() -> None:
        nonlocal logits
        for _ in range(WRITTEN):
            logits = reader.read(logits[:, -1:].argmax(-1))

    return 1000 * seconds(go_on) / WRITTEN


def writing(rounds: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    model, small = (load_model(build_model(DOCUMENTATION, vocabulary=259, seed=seed)) for seed in (0, 1))
    keys = rng.standard_normal((KEYS, WIDTH)).astype(np.float32)
    store = Datastore.build(keys, [str(n // 1000) for n in range(KEYS)])
    knn = KnnMemory(model, "ffn_input", store, rng.integers(0, 259, KEYS))
    readers = {
        "the model alone": lambda: Lockstep(model),
        "with a decoder of its size": lambda: MixedReader(
            Interpolated(model, DecoderMemory(small), Weight((0.5,)), 1.0)
        ),
        f"with kNN-LM, {KEYS} keys": lambda: MixedReader(Interpolated(model, knn, Weight((0.5,)), 1.0)),
    }
    told: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, make in readers.items():
            told[name].append(written(make()))
    for name, own in told.items():
        yield f"{statistics.median(own):8.2f}  ms per token of writing, {name}"


def main(rounds: int = 9) -> None:
    """Print the costs with what is promised of each."""
    torch.set_num_threads(1)
    for lines in (votes(rounds), decoding(rounds), writing(min(rounds, WRITINGS))):
        for line in lines:
            print(line, flush=True)
