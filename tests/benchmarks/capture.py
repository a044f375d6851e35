"""What collecting costs beside the bare forward pass: the first five rows of the budget, as ratios.

``bare`` is the same forward pass doing only what is asked: the model without its head, inference mode, no cache. Each
measured pass stands between two bare ones and is divided by their mean, so a machine that slows down slows down both;
medians over the rounds are printed, each row as soon as it is measured. Times are CPU times of one thread. Memory rows
run one process each and compare the peak resident memory above what the process held before its first pass. The other
ways to the second row (:mod:`tests.benchmarks.comparators`) come last, without a promise.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import sparsity
from probes.capture import encode, read_batch
from probes.capture.prompts import pad
from probes.models import LoadedModel, load_model
from probes.models.hooks import watching
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity.kernels.evaluation import BLOCK_NUMBERS
from sparsity.kernels.vectors import Scratch
from tests.benchmarks.comparators import comparators
from tests.kernels import running

SHAPE = (8, 128)  # prompts x tokens
COMPONENTS = ("resid_post", "attn_out", "mlp_out", "mlp_post")


class Row(NamedTuple):
    """One line of the table: what runs, and the ratio that is promised."""

    what: str
    budget: float
    positions: str
    sites: tuple[str, ...]


ROWS = (
    Row("last token, resid_post of all layers", 1.02, "last", ("resid_post",)),
    Row("every token, resid_post of all layers", 1.05, "all", ("resid_post",)),
    Row("every token, resid_post attn_out mlp_out mlp_post", 1.20, "all", COMPONENTS),
)


def gpt2_size() -> LoadedModel:
    torch.manual_seed(0)
    return load_model(GPT2LMHeadModel(GPT2Config()))


def llama_like() -> LoadedModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
    return load_model(LlamaForCausalLM(LlamaConfig(vocab_size=32000, max_position_embeddings=1024, **shape)))


def smollm2_shape() -> LoadedModel:
    """The shape of SmolLM2-135M: deep and narrow, so that states are many beside the work between them."""
    torch.manual_seed(0)
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    extra = {"num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 1024}
    return load_model(LlamaForCausalLM(LlamaConfig(**shape, **extra)))


def tiny() -> LoadedModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return load_model(LlamaForCausalLM(LlamaConfig(vocab_size=512, max_position_embeddings=64, **shape)))


MODELS = {"GPT-2-small size": gpt2_size, "Llama-like 12 x 768": llama_like, "SmolLM2 30 x 576": smollm2_shape}


def random_prompts(model: LoadedModel, count: int, length: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [encode(model, ids) for ids in rng.integers(0, model.vocabulary, (count, length)).tolist()]


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def reader(model: LoadedModel, prompts: list[Prompt], row: Row) -> Callable[[], object]:
    sites = resolve_sites(model, row.sites)
    metrics = sparsity.DEFAULT_METRICS
    return lambda: read_batch(model, prompts, sites=sites, positions=row.positions, metrics=metrics)


def sorter(model: LoadedModel, prompts: list[Prompt], row: Row, *, sums: bool) -> Callable[[], object]:
    """The part of a row that no arithmetic spares: magnitudes of every vector, their order and their logarithms.

    Nothing is kept, so this is a floor below the row, in the same blocks and memory. With ``sums``, also what adding up
    in float64 costs: three copies of each number at twice its size, one block of squares and the eight sums; this is
    the limit of the default measures in numpy, without a formula.
    """
    sites, batch = resolve_sites(model, row.sites), pad(prompts, model.pad_id)
    scratch = Scratch()

    def look(_: Site, vectors: Tensor) -> None:
        step = max(1, BLOCK_NUMBERS // vectors.shape[-1])
        array = vectors.numpy()
        for start in range(0, len(array), step):
            block = array[start : start + step]
            magnitudes, other = scratch.block("magnitudes", block), scratch.block("other", block)
            np.abs(block, out=magnitudes)
            np.copyto(other, magnitudes)
            other.view(np.int32).sort(axis=-1)
            if sums:
                add_up(other, 3)
                add_up(magnitudes, 2)
            np.log(magnitudes, out=other)
            if sums:
                add_up(other, 3)

    def add_up(block: NDArray[np.float32], count: int) -> None:
        wide = scratch.block("wide", block, np.dtype(np.float64))
        np.copyto(wide, block)
        if count == 2:
            np.square(wide, out=wide)
        for _ in range(count):
            np.vecdot(wide, wide)

    def run() -> None:
        with watching(model.taps, sites, look), np.errstate(divide="ignore"):
            model.run(batch)

    return run


def ratio_lines(name: str, model: LoadedModel, runs: dict[str, Callable[[], object]], rounds: int) -> Iterable[str]:
    """One line per way of running, as soon as it is measured: each run stands between two bare passes."""
    batch = pad(random_prompts(model, *SHAPE), model.pad_id)

    def bare() -> object:
        return model.run(batch)

    bare()
    before = seconds(bare)
    for what, run in runs.items():
        ratios: list[float] = []
        for _ in range(rounds):
            there, after = seconds(run), seconds(bare)
            ratios.append(2 * there / (before + after))
            before = after
        median = statistics.median(ratios)
        yield f"{name:20s} 8 x 128   {median:6.3f}  [{min(ratios):.3f} {max(ratios):.3f}]  {what}"


def budget_lines(name: str, rounds: int) -> Iterable[str]:
    """The rows that promise something, and the noise of the machine first."""
    model = MODELS[name]()
    prompts = random_prompts(model, *SHAPE)
    runs = {"bare again: the noise": lambda: model.run(pad(prompts, model.pad_id))}
    runs |= {f"{row.what} (<= {row.budget})": reader(model, prompts, row) for row in ROWS}
    runs["the same, magnitudes, order and logarithms alone (a floor)"] = sorter(model, prompts, ROWS[2], sums=False)
    runs["the same and the sums in float64 (the limit)"] = sorter(model, prompts, ROWS[2], sums=True)
    return ratio_lines(name, model, runs, rounds)


def comparator_lines(name: str) -> Iterable[str]:
    """What other ways cost: far more than the noise, so one round says it."""
    model = MODELS[name]()
    runs = comparators(model, random_prompts(model, *SHAPE))
    return ratio_lines(name, model, {f"every token, resid_post: {what}": run for what, run in runs.items()}, 1)


def peak_above_idle(run: Callable[[], object]) -> float:
    """MB that a run adds to the largest resident size of this process so far."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def memory_of_components(*, collected: bool) -> float:
    torch.set_num_threads(1)
    model = gpt2_size()
    model.run(pad(random_prompts(model, 1, 8), model.pad_id))
    prompts = random_prompts(model, 16, 512)
    read = reader(model, prompts, ROWS[2])
    return peak_above_idle(read if collected else lambda: model.run(pad(prompts, model.pad_id)))


def memory_of_prompts(count: int) -> float:
    """Peak of reading many prompts one batch after another, keeping nothing, as a sweep does."""
    torch.set_num_threads(1)
    model = tiny()
    rng = np.random.default_rng(0)
    sites = resolve_sites(model, ["resid_post"])

    def run() -> None:
        for _ in range(count // 100):
            prompts = [encode(model, ids) for ids in rng.integers(0, model.vocabulary, (100, 16)).tolist()]
            read_batch(model, prompts, sites=sites, positions="mean", metrics=sparsity.DEFAULT_METRICS)

    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_own_process(function: Callable[..., float], **arguments: object) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, kwds=arguments)


def main(rounds: int = 3) -> None:
    """Print the first five rows of the budget with the machine they were measured on, then what other ways cost."""
    torch.set_num_threads(1)
    chosen = ", ".join(f"{library} {choice}" for library, choice in running().items())
    print(f"torch {torch.__version__}, numpy {np.__version__}, 1 thread, {chosen}", flush=True)
    for name in MODELS:
        for line in budget_lines(name, rounds):
            print(line, flush=True)
    bare, collected = (in_own_process(memory_of_components, collected=how) for how in (False, True))
    print(
        f"peak memory 16 x 512  {collected / bare:6.3f}  ({collected:.0f} / {bare:.0f} MB)  {ROWS[2].what} (<= 1.15)",
        flush=True,
    )
    few, many = (in_own_process(memory_of_prompts, count=count) for count in (1_000, 100_000))
    print(
        f"peak memory 100k / 1k {many / few:6.3f}  ({many:.0f} / {few:.0f} MB)  prompts, mean, resid_post (<= 1.05)",
        flush=True,
    )
    for name in MODELS:
        for line in comparator_lines(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
