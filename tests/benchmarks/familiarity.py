"""What familiarity costs: building and asking a corpus index, neighbours beside faiss alone, measures beside a pass.

The corpus is ten megabytes of the Python standard library, which every machine has. Patterns are drawn from it and from
a shuffled copy of its words, so that both what occurs and what nearly occurs is asked. Times are CPU times of one
thread, the best of a few rounds for throughputs, medians of interleaved rounds for ratios.
"""

import bisect
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probes.capture.logits import LOGITS_AT_A_TIME, reduce_logits
from probes.capture.prompts import pad
from probes.corpus.corpora import build_index
from probes.corpus.index import CorpusIndex
from probes.extras import has_extra
from probes.familiarity.datastore import SPARE, Datastore
from probes.familiarity.surprisals import surprisal_reader, surprisals_of
from probes.models.loading import LoadedModel
from probes.vocabulary.prompt import Prompt
from tests.benchmarks.capture import gpt2_size, llama_like, random_prompts

CORPUS_BYTES = 10_000_000
QUERIES = 200_000
KEYS, WIDTH, NEIGHBOURS = 200_000, 96, 16


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def corpus() -> list[str]:
    documents: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        size += len(text.encode())
        documents.append(text)
        if size >= CORPUS_BYTES:
            break
    return documents


def counting(index: CorpusIndex, documents: list[str], rounds: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    own = np.concatenate([index.document(number) for number in range(index.n_documents)])
    words = " ".join(rng.permutation(" ".join(documents)[:2_000_000].split())).encode()
    for what, ids in (("of the corpus", own), ("of shuffled words", np.frombuffer(words, dtype=np.uint8))):
        for length in (4, 8, 13, 20):
            starts = rng.integers(0, len(ids) - length, QUERIES)
            flat = ids[starts[:, None] + np.arange(length)].reshape(-1)
            patterns = index.patterns(flat, np.arange(QUERIES) * length, np.full(QUERIES, length))
            best = min(seconds(lambda p=patterns: index.count(p)) for _ in range(rounds))
            yield f"{QUERIES / best / 1e3:8.0f} k/s  counts of {length}-byte strings {what} (>= 500)"
    slow = python_counts(index, own, 2_000)
    yield f"{slow / 1e3:8.0f} k/s  counts of 8-byte strings, Python bisect in the same array"
    yield from tokengrams_counts(own, 10_000)


def python_counts(index: CorpusIndex, ids: np.ndarray, n: int) -> float:
    array = index.shards[0].suffixes
    data, suffixes = array.data.tobytes(), array.suffixes
    rng = np.random.default_rng(1)
    asked = [data[start : start + 8] for start in rng.integers(0, len(ids) - 8, n)]

    def count_all() -> int:
        total = 0
        for pattern in asked:
            key = lambda at: data[at : at + 8]  # noqa: E731  bisect wants a key
            total += bisect.bisect_right(suffixes, pattern, key=key) - bisect.bisect_left(suffixes, pattern, key=key)
        return total

    return n / seconds(count_all)


def tokengrams_counts(ids: np.ndarray, n: int) -> Iterator[str]:
    """The same strings of the same corpus asked of tokengrams, a byte to a token, documents run together."""
    if not has_extra("tokengrams"):
        yield "       -       counts by tokengrams, which is not installed"
        return
    import tokengrams

    rng = np.random.default_rng(1)
    asked = [ids[start : start + 8].tolist() for start in rng.integers(0, len(ids) - 8, n)]
    with tempfile.TemporaryDirectory() as folder:
        tokens, table = f"{folder}/tokens.bin", f"{folder}/tokens.idx"
        ids.astype(np.uint16).tofile(tokens)
        built: list[Any] = []
        spent = seconds(lambda: built.append(tokengrams.MemmapIndex.build(tokens, table, vocab=256)))
        rate = n / seconds(lambda: [built[0].count(query) for query in asked])
    yield f"{len(ids) / 1e6 / spent:8.1f} MB/s  index build by tokengrams, processor time of all its threads"
    yield f"{rate / 1e3:8.0f} k/s  counts of 8-byte strings by tokengrams, one call each"


def neighbours(rounds: int) -> Iterator[str]:
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    states = rng.standard_normal((KEYS, WIDTH)).astype(np.float32)
    names = [str(n // 20) for n in range(KEYS)]
    store = Datastore.build(states, names)
    queries, own = states[:512], names[:512]
    bare = faiss.IndexFlatL2(WIDTH)
    bare.add(store.keys)
    ratios = []
    for _ in range(rounds):
        alone = seconds(lambda: bare.search(queries, NEIGHBOURS + 20 + SPARE))
        ours = seconds(lambda: store.nearest(queries, NEIGHBOURS, without=own))
        ratios.append(alone / ours)
    yield f"{statistics.median(ratios):8.3f}  neighbour queries, own document left out, over faiss alone (>= 0.95)"
    yield f"{512 / ours:8.0f} /s  neighbour queries, {KEYS} keys of width {WIDTH}, k = {NEIGHBOURS}"


def bare_logits(model: LoadedModel, prompts: list[Prompt]) -> None:
    """The forward pass with logits of every token, a chunk at a time, each thrown away."""
    batch = pad(prompts, model.pad_id)
    output = model.run(batch)
    at_a_time = max(1, LOGITS_AT_A_TIME // model.vocabulary)
    for start in range(0, batch.ids.numel(), at_a_time):
        model.logits(output, torch.arange(start, min(start + at_a_time, batch.ids.numel())))


def measured(model: LoadedModel, prompts: list[Prompt]) -> None:
    output = model.run(pad(prompts, model.pad_id))
    surprisals_of(prompts, *reduce_logits(model, output, [surprisal_reader(prompts)]))


def overhead(model: LoadedModel, rounds: int) -> list[float]:
    prompts = random_prompts(model, 8, 128)
    ratios: list[float] = []
    bare_logits(model, prompts)
    before = seconds(lambda: bare_logits(model, prompts))
    for _ in range(rounds):
        own = seconds(lambda: measured(model, prompts))
        after = seconds(lambda: bare_logits(model, prompts))
        ratios.append(2 * own / (before + after))
        before = after
    return sorted(ratios)


def overheads(rounds: int) -> Iterator[str]:
    for name, make in (("GPT-2-small size", gpt2_size), ("Llama-like 12 x 768", llama_like)):
        ratios = overhead(make(), rounds)
        spread = f"[{ratios[0]:.3f} {ratios[-1]:.3f}]"
        yield f"{statistics.median(ratios):8.3f}  {spread} measures of all logits over the pass, {name} (<= 1.10)"


def main(rounds: int = 5) -> None:
    """Print the costs with what is promised of each."""
    torch.set_num_threads(1)
    documents = corpus()
    size = sum(len(document.encode()) for document in documents)
    built: list[CorpusIndex] = []
    spent = seconds(lambda: built.append(build_index(documents)))
    index = built[0]
    held = sum(
        array.nbytes
        for shard in index.shards
        for array in (shard.suffixes.data, shard.suffixes.suffixes, shard.suffixes.samples, shard.documents)
    )
    print(f"{size / 1e6 / spent:8.1f} MB/s  index build, {size / 1e6:.1f} MB in {index.n_documents} documents")
    print(f"{held / size:8.2f}  bytes of index per byte of corpus")
    for lines in (counting(index, documents, rounds), neighbours(rounds), overheads(rounds)):
        for line in lines:
            print(line, flush=True)
