"""Cost of reading people's categories: 1,105 members, 30 layers and 10 to 12 clusterings of each set, states in memory.

Three sets of norms as large as the published ones (492, 565 and 48 members of 18, 10 and 8 categories), random states
of width 576: per layer clusterings, agreement with its interval, regret with its rivals and 200 random partitions, and
graded membership with its bootstrap; the ceiling once per set; the information bottleneck apart. Processor time.
"""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from analyses.statistics.concepts.agreement import ami_ceiling
from analyses.statistics.concepts.bottleneck import bottleneck
from analyses.statistics.concepts.held_out import held_out_regret
from analyses.statistics.concepts.profile import read_place
from analyses.statistics.concepts.quantisation import better_partitions

SETS = ((492, 18), (565, 10), (48, 8))
WIDTH, LAYERS, TOKENS = 576, 30, 512


def sets(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for n, k in SETS:
        categories = np.arange(n) % k
        states = rng.normal(size=(n, WIDTH)) + 0.3 * rng.normal(size=(k, WIDTH))[categories]
        yield states, categories, rng.uniform(size=n)


def main(layers: int = LAYERS) -> None:
    rng = np.random.default_rng(0)
    began = time.process_time()
    for _ in range(layers):
        for states, categories, typicality in sets(rng):
            read_place(states, categories, typicality, rng)
    whole = (time.process_time() - began) * LAYERS / layers
    print(f"{whole:8.1f} s  1,105 members x {LAYERS} layers, all measures (<= 60)", flush=True)
    began = time.process_time()
    for n, k in SETS:  # one item in ten stands in a second category
        ami_ceiling([str(i if i % 10 else (i + 1) % n) for i in range(n)], np.arange(n) % k)
    print(f"{time.process_time() - began:8.1f} s  ceilings of the three sets", flush=True)
    began = time.process_time()
    for states, categories, _ in sets(rng):
        sentences = states + 0.3 * rng.normal(size=(2, *states.shape))
        search = partial(better_partitions, labels=categories, rng=rng)
        held_out_regret(sentences, categories, search, rng)
    print(f"{time.process_time() - began:8.1f} s  regret on sentences left out, two sentences, one layer", flush=True)
    began = time.process_time()
    bottleneck(rng.dirichlet(np.full(TOKENS, 0.1), size=SETS[0][0]))
    print(f"{time.process_time() - began:8.1f} s  information bottleneck of {SETS[0][0]} members, {TOKENS} tokens")


if __name__ == "__main__":
    main()
