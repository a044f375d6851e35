"""Measures of a SET of vectors, (n, d): how units are used over inputs, and in how many dimensions the set lives.

A vector can be dense while each unit is rarely active, and a set can be low-dimensional while each vector is dense.
These measures answer the two questions that measures of one vector cannot. Each returns a plain float (or one value
per unit) in float64. The scalar ones are registered in ``POPULATION`` under the names that the ``populations`` table
stores. None of them says "sparser": a direction is declared only where it has that meaning.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array, Number
from sparsity.kernels.matrices import (
    Matrix,
    Spectrum,
    as_matrix,
    covariance_spectrum,
    isotropy,
    participation,
    perplexity,
    singular_values,
)
from sparsity.measures.concentration import treves_rolls
from sparsity.neighbours import Neighbourhood, dimension, neighbourhood
from sparsity.registry import Registry
from sparsity.streaming import UnitStatistics

SILENT: Final = 0.1  # of a set's median magnitude: a unit that never exceeds it is dead
DISCARDED: Final = 0.1  # of the neighbour ratios that TwoNN reads, as its authors do


class VectorSet:
    """A set of vectors, its two spectra and how its units are used: computed once however many measures read them."""

    def __init__(self, rows: Matrix) -> None:
        self.rows = rows

    @cached_property
    def singular(self) -> Spectrum:
        """Singular values of the set as a matrix, descending."""
        return singular_values(self.rows)

    @cached_property
    def covariance(self) -> Spectrum:
        """Eigenvalues of the covariance, descending."""
        return covariance_spectrum(self.rows)

    @cached_property
    def is_finite(self) -> bool:
        """True where no entry is NaN or infinite."""
        return bool(np.isfinite(self.rows).all())

    @cached_property
    def neighbours(self) -> Neighbourhood:
        """The vectors that differ from each other by more than rounding, and how far their nearest others are."""
        return neighbourhood(self.rows)

    @cached_property
    def units(self) -> UnitStatistics:
        """Use of every unit; active is what exceeds a tenth of the median magnitude of the set."""
        units = UnitStatistics(self.rows.shape[1], threshold=SILENT * float(np.median(np.abs(self.rows))))
        units.update(self.rows)
        return units


Formula: TypeAlias = Callable[[VectorSet], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationMetric:
    """A scalar measure of a set of vectors: its name, version, direction, source, function and least number of rows."""

    name: str
    version: int
    sparser: Literal["higher", "lower"] | None
    source: str
    function: Callable[[Array], float]
    formula: Formula
    min_rows: int


POPULATION: Registry[PopulationMetric] = Registry("population metric")


def population_profile(x: Array, metrics: Sequence[str] | None = None) -> dict[str, float]:
    """Registered measures of a set, by name (all of them by default); what they share is computed once.

    NaN for a measure that needs more vectors than there are, and as each measure says.

    Raises:
        UnknownNameError: for a name that is not registered; suggests the nearest.

    >>> import numpy as np
    >>> population_profile(np.eye(3))["stable_rank"]
    3.0
    >>> population_profile(np.eye(3), ["mean_cosine"])
    {'mean_cosine': 0.0}
    """
    asked = {name: POPULATION[name] for name in (POPULATION if metrics is None else metrics)}
    whole = VectorSet(as_matrix(x, "population_profile", 0))
    return {
        name: metric.formula(whole) if len(whole.rows) >= metric.min_rows else np.nan for name, metric in asked.items()
    }


def _population(
    *, sparser: Literal["higher", "lower"] | None, source: str, min_rows: int = 2, version: int = 1
) -> Callable[[Formula], Callable[[Array], float]]:
    def register(formula: Formula) -> Callable[[Array], float]:
        name = formula.__name__

        def function(x: Array) -> float:
            return formula(VectorSet(as_matrix(x, name, min_rows)))

        function.__name__, function.__qualname__, function.__doc__ = name, name, formula.__doc__
        POPULATION.add(
            name,
            PopulationMetric(
                name=name,
                version=version,
                sparser=sparser,
                source=source,
                function=function,
                formula=formula,
                min_rows=min_rows,
            ),
        )
        return function

    return register


def lifetime_sparseness(x: Array) -> NDArray[np.float64]:
    """Treves-Rolls sparseness of every unit over the set: 0 for constant magnitude, 1 - 1/n when one input drives it.

    Returns (d,); NaN for a unit that is always zero, or not finite. Source: Willmore & Tolhurst (2001), Network 12.

    >>> import numpy as np
    >>> lifetime_sparseness(np.array([[1.0, 0.0], [1.0, 4.0]]))
    array([0. , 0.5])
    """
    return treves_rolls(np.ascontiguousarray(as_matrix(x, "lifetime_sparseness", 2).T))


def activation_frequency(x: Array, *, threshold: Number) -> NDArray[np.float64]:
    """Share of the set in which a unit's magnitude exceeds ``threshold``: 0 for a dead unit, 1 for one always on.

    >>> import numpy as np
    >>> activation_frequency(np.array([[1.0, 0.0], [1.0, 4.0]]), threshold=0.0)
    array([1. , 0.5])
    """
    rows = as_matrix(x, "activation_frequency")
    return np.where(np.isfinite(rows).all(axis=0), (np.abs(rows) > threshold).mean(axis=0), np.nan)


def dead_units(x: Array, *, threshold: Number) -> NDArray[np.int_]:
    """Indices of the units whose magnitude never exceeds ``threshold`` in the set."""
    return np.flatnonzero(activation_frequency(x, threshold=threshold) == 0)


def always_on_units(x: Array, *, threshold: Number) -> NDArray[np.int_]:
    """Indices of the units whose magnitude exceeds ``threshold`` for every vector of the set."""
    return np.flatnonzero(activation_frequency(x, threshold=threshold) == 1)


@_population(sparser=None, source="Gao et al. (2017), bioRxiv 214262; (tr C)^2 / tr C^2")
def covariance_participation_ratio(x: VectorSet, /) -> float:
    """Effective number of principal components: 1 for a set on a line, min(n - 1, d) when all directions vary alike.

    (sum of the covariance eigenvalues)^2 over the sum of their squares. NaN when nothing varies or a vector is not
    finite.

    >>> import numpy as np
    >>> round(covariance_participation_ratio(np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])), 9)
    1.0
    """
    return participation(x.covariance)


@_population(sparser=None, source="Roy & Vetterli (2007), EUSIPCO, on the covariance eigenvalues")
def covariance_effective_rank(x: VectorSet, /) -> float:
    """Effective number of principal components by entropy: 1 on a line, min(n - 1, d) when all vary alike.

    Exponential of the entropy of the covariance eigenvalues. NaN when nothing varies or a vector is not finite.
    """
    return perplexity(x.covariance)


@_population(sparser=None, source="Garrido et al. (2023), RankMe, ICML, equation 1, without its 1e-7", min_rows=1)
def rankme(x: VectorSet, /) -> float:
    """RankMe: effective rank of the set as a matrix, 1 for parallel vectors, min(n, d) for a flat spectrum.

    Exponential of the entropy of the singular values, not squared and not centred. NaN for a zero or non-finite set.
    """
    return perplexity(x.singular)


@_population(sparser=None, source="Rudelson & Vershynin (2007), J. ACM 54(4)", min_rows=1)
def stable_rank(x: VectorSet, /) -> float:
    """Squared Frobenius over squared spectral norm, not centred: 1 for parallel vectors, min(n, d) when flat."""
    squares = x.singular**2
    return float(squares.sum() / squares[0]) if squares[0] > 0 else np.nan


@_population(sparser=None, source="Ethayarajh (2019), EMNLP, section 3.2")
def mean_cosine(x: VectorSet, /) -> float:
    """Anisotropy: mean cosine between two different vectors, 0 when they point anywhere, 1 when all are parallel.

    Zero vectors have no direction and make it NaN, as does a non-finite one.
    """
    rows = x.rows
    with np.errstate(invalid="ignore"):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(unit)
    return float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1)))


@_population(sparser=None, source="Rudman & Eickhoff (2024), ICLR, IsoScore* with no shrinkage")
def isoscore_star(x: VectorSet, /) -> float:
    """IsoScore*: 1 when the variance is the same in all d directions, 0 when one direction holds it all.

    Roughly the share of directions in use; on the sample covariance without shrinkage, so n well above d is needed.
    """
    return isotropy(x.covariance, x.rows.shape[1])


@_population(sparser="higher", source="Willmore & Tolhurst (2001), Network 12; mean over units")
def mean_lifetime_sparseness(x: VectorSet, /) -> float:
    """Mean over units of how few vectors use one: 0 when each has one magnitude, 1 - 1/n when one does.

    Units that are always zero have none and are left out; NaN where all are, or a vector is not finite. The largest
    possible value depends on the number of vectors: compare sets of one size.

    >>> import numpy as np
    >>> mean_lifetime_sparseness(np.array([[1.0, 0.0], [1.0, 4.0]]))
    0.25
    """
    own = x.units.lifetime_sparseness()
    return float(np.nanmean(own)) if x.is_finite and not np.isnan(own).all() else np.nan


@_population(sparser="higher", source="Willmore & Tolhurst (2001), Network 12; mean over vectors", min_rows=1)
def mean_population_sparseness(x: VectorSet, /) -> float:
    """Mean over vectors of how few units one uses (Treves-Rolls): 0 for equal magnitudes, 1 - 1/d for one.

    Zero vectors have none and are left out; NaN where all are zero, or a vector is not finite.

    >>> import numpy as np
    >>> mean_population_sparseness(np.array([[1.0, 1.0], [0.0, 4.0]]))
    0.25
    """
    own = np.asarray(treves_rolls(np.ascontiguousarray(x.rows)), np.float64)
    return float(np.nanmean(own)) if x.is_finite and not np.isnan(own).all() else np.nan


@_population(sparser="higher", source="units whose magnitude never exceeds a tenth of the set's median magnitude")
def dead_unit_share(x: VectorSet, /) -> float:
    """Share of the units that no vector uses: 0 when each is used once, 1 when none is (all zero).

    Used is a magnitude above a tenth of the median magnitude of the set; where at least half of all entries are zero,
    any magnitude above zero. A unit that is dead in a small set may be used in a larger one. NaN for a set that is not
    finite.

    >>> import numpy as np
    >>> dead_unit_share(np.array([[1.0, 0.0], [2.0, 0.0]]))
    0.5
    """
    return float((x.units.activation_frequency() == 0).mean()) if x.is_finite else np.nan


@_population(sparser="lower", source="units whose magnitude always exceeds a tenth of the set's median magnitude")
def always_on_unit_share(x: VectorSet, /) -> float:
    """Share of the units that every vector uses, in the sense of :func:`dead_unit_share`: 0 to 1; NaN alike.

    >>> import numpy as np
    >>> always_on_unit_share(np.array([[1.0, 0.0], [2.0, 3.0]]))
    0.5
    """
    return float((x.units.activation_frequency() == 1).mean()) if x.is_finite else np.nan


@_population(sparser=None, source="Facco et al. (2017), Sci. Rep. 7, 12140", min_rows=3, version=2)
def two_nn_dimension(x: VectorSet, /) -> float:
    """Intrinsic dimension by :func:`sparsity.neighbours.two_nn`: 1 on a curve, d when the set fills all directions.

    Repeated vectors are counted once, also where they differ by rounding in float32. NaN with fewer than three distinct
    vectors, or where one is not finite.
    """
    if not x.is_finite or x.neighbours.distinct < 3:
        return np.nan
    return dimension(x.neighbours, discarded=DISCARDED).value


@_population(sparser=None, source="distinct vectors", min_rows=1, version=2)
def repeated_share(x: VectorSet, /) -> float:
    """Share of the vectors that repeat another: 0 when all differ, 1 - 1/n when all are one; NaN when not finite.

    Two that differ by no more than 2^-18 of their length are one: a model run in batches of other shapes rounds so.

    >>> import numpy as np
    >>> repeated_share(np.array([[1.0, 0.0], [1.0, 0.0]]))
    0.5
    """
    return 1 - x.neighbours.distinct / len(x.rows) if x.is_finite else np.nan


class MassiveDimension(NamedTuple):
    """A dimension that holds massive activations, and how large they are."""

    dimension: int
    peak: float
    over_median: float
    energy_share: float


def massive_activations(x: Array, *, ratio: Number) -> list[MassiveDimension]:
    """Dimensions whose largest magnitude exceeds ``ratio`` times the median magnitude of the whole set, largest first.

    ``energy_share`` is the dimension's share of the mean-square energy. Sun et al. (2024, arXiv:2402.17762) ask for a
    ratio of 1000 and a magnitude above 100.

    >>> import numpy as np
    >>> massive_activations(np.array([[1.0, 1.0, 1.0, -900.0], [1.0, 1.0, 1.0, 1.0]]), ratio=100)[0].dimension
    3
    """
    rows: Matrix = np.abs(as_matrix(x, "massive_activations"))
    median, peaks, energy = float(np.median(rows)), rows.max(axis=0), np.square(rows).sum(axis=0)
    found = np.flatnonzero(peaks > ratio * median)
    return [
        MassiveDimension(
            int(j), float(peaks[j]), float(peaks[j] / median) if median else np.inf, float(energy[j] / energy.sum())
        )
        for j in found[np.argsort(-peaks[found])]
    ]
