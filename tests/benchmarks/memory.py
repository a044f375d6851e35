"""What memories cost: votes of kNN-LM beside faiss alone, a decoder beside its own forward pass, bytes per key.

Keys are random, of the width of the laboratory's model of documentation. Times are processor times of one thread,
medians of interleaved rounds.
"""

import statistics
from collections.abc import Iterator

import numpy as np
import torch

from probes.familiarity.datastore import Datastore
from probes.lab.families import build_model
from probes.memory.comparison.seeds import DOCUMENTATION
from probes.memory.decoder import DecoderMemory
from probes.memory.knn import NEIGHBOURS, KnnMemory
from probes.models.loading import load_model
from tests.benchmarks.capture import random_prompts
from tests.benchmarks.familiarity import KEYS, WIDTH, bare_logits, seconds

QUERIES = 512


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


def main(rounds: int = 9) -> None:
    """Print the costs with what is promised of each."""
    torch.set_num_threads(1)
    for lines in (votes(rounds), decoding(rounds)):
        for line in lines:
            print(line, flush=True)
