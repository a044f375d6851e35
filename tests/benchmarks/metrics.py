"""What the default profile costs: against one torch call per measure, against sorting alone, against reading.

Ratios of CPU time within one process: medians of interleaved repeats, one thread. The naive version is what a careful
user writes in torch, one function per measure on a float32 tensor. Reading is the sum of the same bytes.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

import sparsity

WIDTHS = (768, 4096, 16384)
NUMBERS = 1024 * 768
REPEATS = 15
BAR = 8.0


class Row(NamedTuple):
    """One width."""

    d: int
    ns_per_vector: float
    gb_per_second: float
    naive_over_profile: float
    profile_over_sort: float
    profile_over_read: float


def naive_torch(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute the default measures one by one, each from the tensor."""
    d = x.shape[-1]

    def gini() -> torch.Tensor:
        a = x.abs().sort(dim=-1).values
        rank = torch.arange(1, d + 1, dtype=x.dtype)
        return (a * (2 * rank - d - 1)).sum(-1) / (d * a.sum(-1))

    def hoyer() -> torch.Tensor:
        return (d**0.5 - x.abs().sum(-1) / x.norm(dim=-1)) / (d**0.5 - 1)

    def top_k_energy(fraction: float) -> torch.Tensor:
        energy = x**2
        return energy.sort(dim=-1, descending=True).values[..., : int(fraction * d)].sum(-1) / energy.sum(-1)

    def effective_dimension(weights: torch.Tensor) -> torch.Tensor:
        p = weights / weights.sum(-1, keepdim=True)
        return torch.exp(-torch.xlogy(p, p).sum(-1)) / d

    return {
        "gini": gini(),
        "hoyer": hoyer(),
        "top_k_energy(0.05)": top_k_energy(0.05),
        "top_k_energy(0.1)": top_k_energy(0.1),
        "effective_dimension_l1": effective_dimension(x.abs()),
        "effective_dimension_l2": effective_dimension(x**2),
        "participation_ratio": (x**2).sum(-1) ** 2 / (d * (x**4).sum(-1)),
        "l2_norm": x.norm(dim=-1),
    }


def rows() -> Iterator[Row]:
    """Measure every width."""
    for d in WIDTHS:
        x = np.random.default_rng(0).standard_normal((NUMBERS // d, d), dtype=np.float32)
        tensor, magnitudes = torch.from_numpy(x), np.abs(x)
        profile, naive, sort, read = _interleaved(
            lambda x=x: sparsity.profile(x),
            lambda tensor=tensor: naive_torch(tensor),
            lambda magnitudes=magnitudes: np.sort(magnitudes, axis=-1),
            x.sum,
        )
        yield Row(d, 1e9 * profile / len(x), x.nbytes / profile / 1e9, naive / profile, profile / sort, profile / read)


def _interleaved(*calls: Callable[[], object]) -> list[float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times: list[list[float]] = [[] for _ in calls]
        for repeat in range(REPEATS + 1):
            for call, spent in zip(calls, times, strict=True):
                start = time.process_time()
                call()
                if repeat:
                    spent.append(time.process_time() - start)
        return [median(spent) for spent in times]
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Print the table."""
    config: Any = np.show_config(mode="dicts")
    simd = config["SIMD Extensions"].get("found", [])
    print(
        f"default profile of float32 vectors, one thread, SIMD {' '.join(simd) or 'baseline'}; naive torch bar {BAR}x"
    )
    print(f"{'d':>6} {'ns/vector':>10} {'GB/s':>6} {'naive/profile':>14} {'profile/sort':>13} {'profile/read':>13}")
    for row in rows():
        print(
            f"{row.d:>6} {row.ns_per_vector:>10.0f} {row.gb_per_second:>6.2f} {row.naive_over_profile:>14.1f}"
            f" {row.profile_over_sort:>13.2f} {row.profile_over_read:>13.1f}"
        )


if __name__ == "__main__":
    main()
