"""Measures of a set that is never held in memory: accumulate batch by batch, merge across processes, save and go on.

Problem: a sweep sees a million vectors and keeps none. Idea: what the measures of a set need (counts, sums, a mean
and a scatter matrix) adds up. An accumulator has ``update`` (in place), ``merge`` (a new one; associative and
commutative up to rounding), ``state`` (plain arrays, enough to go on from) and ``from_state``. Vectors that are not
finite are left out and counted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array, Number
from sparsity.kernels.matrices import Matrix, Spectrum, finite_rows, isotropy, participation, perplexity

State = Mapping[str, NDArray[Any]]


class UnitStatistics:
    """Use of every unit: activation frequency, lifetime sparseness, peak and share of the energy.

    >>> import numpy as np
    >>> units = UnitStatistics(2, threshold=0.0)
    >>> units.update(np.array([[1.0, 0.0], [1.0, 4.0]]))
    >>> units.activation_frequency(), units.lifetime_sparseness()
    (array([1. , 0.5]), array([0. , 0.5]))
    """

    def __init__(self, width: int, *, threshold: Number) -> None:
        self.threshold = float(threshold)
        self.n = 0
        self.n_undefined = 0
        self.active, self.sums, self.squares, self.peaks = (np.zeros(width) for _ in range(4))

    def update(self, x: Array) -> None:
        """Take in a batch of vectors, (n, d)."""
        rows, undefined = finite_rows(x)
        magnitudes = np.abs(rows)
        self.n += len(rows)
        self.n_undefined += undefined
        self.active += (magnitudes > self.threshold).sum(axis=0)
        self.sums += magnitudes.sum(axis=0)
        self.squares += np.square(magnitudes).sum(axis=0)
        self.peaks = np.maximum(self.peaks, magnitudes.max(axis=0, initial=0))

    def merge(self, other: "UnitStatistics") -> "UnitStatistics":
        """Combine with what another process saw."""
        if other.threshold != self.threshold or other.sums.shape != self.sums.shape:
            raise ValueError("unit statistics merge only at one width and one threshold")
        merged = UnitStatistics(len(self.sums), threshold=self.threshold)
        merged.n, merged.n_undefined = self.n + other.n, self.n_undefined + other.n_undefined
        merged.active, merged.sums = self.active + other.active, self.sums + other.sums
        merged.squares, merged.peaks = self.squares + other.squares, np.maximum(self.peaks, other.peaks)
        return merged

    def state(self) -> State:
        """Everything needed to go on, as plain arrays."""
        return {
            "threshold": np.array(self.threshold),
            "counts": np.array([self.n, self.n_undefined]),
            "units": np.stack([self.active, self.sums, self.squares, self.peaks]),
        }

    @classmethod
    def from_state(cls, state: State) -> "UnitStatistics":
        """Go on from a saved state."""
        units = cls(state["units"].shape[1], threshold=float(state["threshold"]))
        units.n, units.n_undefined = (int(count) for count in state["counts"])
        units.active, units.sums, units.squares, units.peaks = (row.copy() for row in state["units"])
        return units

    def activation_frequency(self) -> NDArray[np.float64]:
        """Share of the vectors in which each unit exceeds the threshold; NaN before the first vector."""
        return self.active / self.n if self.n else np.full_like(self.active, np.nan)

    def lifetime_sparseness(self) -> NDArray[np.float64]:
        """Treves-Rolls sparseness of each unit over the vectors; NaN for a unit that was always zero."""
        return 1 - np.divide(
            self.sums**2, self.n * self.squares, out=np.full_like(self.sums, np.nan), where=self.squares > 0
        )

    def energy_share(self) -> NDArray[np.float64]:
        """Share of the mean-square energy held by each unit; NaN when there is none."""
        total = self.squares.sum()
        return self.squares / total if total > 0 else np.full_like(self.squares, np.nan)


class CovarianceStatistics:
    """In how many dimensions the vectors live: mean and scatter matrix by the update of Chan, Golub & LeVeque (1983).

    Keeping deviations from the running mean, not raw products, is what survives a large common offset.
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.n_undefined = 0
        self.mean, self.scatter = np.zeros(width), np.zeros((width, width))

    def update(self, x: Array) -> None:
        """Take in a batch of vectors, (n, d)."""
        rows, undefined = finite_rows(x)
        self.n_undefined += undefined
        if len(rows):
            mean = rows.mean(axis=0)
            centred = rows - mean
            self.absorb(len(rows), mean, centred.T @ centred)

    def merge(self, other: "CovarianceStatistics") -> "CovarianceStatistics":
        """Combine with what another process saw."""
        if other.mean.shape != self.mean.shape:
            raise ValueError("covariance statistics merge only at one width")
        merged = CovarianceStatistics.from_state(self.state())
        merged.n_undefined += other.n_undefined
        if other.n:
            merged.absorb(other.n, other.mean, other.scatter)
        return merged

    def absorb(self, n: int, mean: Matrix, scatter: Matrix) -> None:
        """Take in ``n`` vectors of which only the mean and the scatter about it are known."""
        total, shift = self.n + n, mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(shift, shift) * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    def state(self) -> State:
        """Everything needed to go on, as plain arrays."""
        return {
            "counts": np.array([self.n, self.n_undefined]),
            "mean": self.mean.copy(),
            "scatter": self.scatter.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> "CovarianceStatistics":
        """Go on from a saved state."""
        statistics = cls(len(state["mean"]))
        statistics.n, statistics.n_undefined = (int(count) for count in state["counts"])
        statistics.mean, statistics.scatter = state["mean"].copy(), state["scatter"].copy()
        return statistics

    def _covariance_spectrum(self) -> Spectrum:
        if self.n < 2:
            return np.full(len(self.mean), np.nan)
        return np.clip(np.linalg.eigvalsh(self.scatter / (self.n - 1))[::-1], 0, None)

    def _energy_spectrum(self) -> Spectrum:
        energy = self.scatter + self.n * np.outer(self.mean, self.mean)
        return np.clip(np.linalg.eigvalsh(energy)[::-1], 0, None)

    def covariance_participation_ratio(self) -> float:
        """See :func:`sparsity.population.covariance_participation_ratio`."""
        return participation(self._covariance_spectrum())

    def covariance_effective_rank(self) -> float:
        """See :func:`sparsity.population.covariance_effective_rank`."""
        return perplexity(self._covariance_spectrum())

    def rankme(self) -> float:
        """See :func:`sparsity.population.rankme`; singular values below 1e-8 of the largest are lost here."""
        return perplexity(np.sqrt(self._energy_spectrum()))

    def stable_rank(self) -> float:
        """See :func:`sparsity.population.stable_rank`."""
        spectrum = self._energy_spectrum()
        return float(spectrum.sum() / spectrum[0]) if spectrum[0] > 0 else np.nan

    def isoscore_star(self) -> float:
        """See :func:`sparsity.population.isoscore_star`."""
        return isotropy(self._covariance_spectrum(), len(self.mean))
