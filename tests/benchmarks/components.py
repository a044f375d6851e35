"""Cost of the row of four components at each SIMD level, and the limit of numpy there.

Six layers of the shape of SmolLM2, 8 x 128 tokens, one thread, in a process per level; ratios of CPU time to the bare
pass. The budget of the row is 1.20. *Memory* moves what the measures move and computes nothing: magnitudes, a second
copy to be ranked, and three copies in float64. *Order and logarithms* is the work that no way of adding up spares.
*Limit* is both and the sums in float64 without a formula: where it lies above the budget, so does every way of keeping
the bound on sums (sparsity.kernels.vectors.ACCUMULATION) in numpy.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from probes.capture.prompts import pad
from probes.models import LoadedModel, load_model
from probes.models.hooks import watching
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites
from sparsity.kernels.evaluation import BLOCK_NUMBERS
from sparsity.kernels.vectors import Scratch
from tests.benchmarks.capture import ROWS, SHAPE, random_prompts, reader, seconds, sorter
from tests.kernels import kernels, running

ROUNDS = 9
LAYERS = 6


def six_layers() -> LoadedModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": LAYERS, "num_attention_heads": 9}
    extra = {"num_key_value_heads": 3, "vocab_size": 1000, "max_position_embeddings": 1024}
    return load_model(LlamaForCausalLM(LlamaConfig(**shape, **extra)))


def mover(model: LoadedModel, prompts: list[Prompt]) -> Callable[[], object]:
    """The memory that the measures move, in the same blocks, and nothing computed but magnitudes."""
    sites, batch = resolve_sites(model, ROWS[2].sites), pad(prompts, model.pad_id)
    scratch, double = Scratch(), np.dtype(np.float64)

    def look(_: Site, vectors: Tensor) -> None:
        array = vectors.numpy()
        step = max(1, BLOCK_NUMBERS // array.shape[-1])
        for start in range(0, len(array), step):
            block = array[start : start + step]
            magnitudes, ranked = scratch.block("magnitudes", block), scratch.block("ranked", block)
            wide, logarithms = scratch.block("wide", block, double), scratch.block("logarithms", block, double)
            np.abs(block, out=magnitudes)
            np.copyto(ranked, magnitudes)
            np.copyto(wide, ranked)
            np.copyto(wide, magnitudes)
            np.copyto(logarithms, ranked)

    def run() -> None:
        with watching(model.taps, sites, look):
            model.run(batch)

    return run


def lines(rounds: int) -> Iterator[str]:
    """The ratios at the level of this process."""
    torch.set_num_threads(1)
    model = six_layers()
    prompts = random_prompts(model, *SHAPE)
    batch = pad(prompts, model.pad_id)
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: model.run(batch),
        "bare again: the noise": lambda: model.run(batch),
        "memory": mover(model, prompts),
        "order and logarithms": sorter(model, prompts, ROWS[2], sums=False),
        "limit": sorter(model, prompts, ROWS[2], sums=True),
        "the row (<= 1.2)": reader(model, prompts, ROWS[2]),
    }
    for run in runs.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(seconds(run))
    yield ", ".join(f"{library} {choice}" for library, choice in running().items())
    for name, own in spent.items():
        ratios = [one / bare for one, bare in zip(own, spent["bare"], strict=True)]
        if name != "bare":
            yield f"{statistics.median(ratios):6.3f}  [{min(ratios):.3f} {max(ratios):.3f}]  {name}"


def main() -> None:
    """Print the ratios at the widest level of this machine and at AVX2."""
    print(
        "memory: the copies alone; order and logarithms: what no sum spares; limit: both and float64 sums, no formula"
    )
    levels = {"this machine": {}} | {name: one.environment() for name, one in kernels().items() if name == "avx2"}
    for own in levels.values():
        command = [sys.executable, "-m", "tests.benchmarks.components", str(ROUNDS)]
        done = subprocess.run(command, env={**os.environ, **own}, check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    for line in lines(int(sys.argv[1])):
        print(line)
