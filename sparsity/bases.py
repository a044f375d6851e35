"""The same measure in other bases: what a basis is here, and a panel of them.

Sparsity is relative to a basis. The neuron basis is the one the model computes in; the principal axes of a reference
group are the one its states choose; the right singular vectors of the unembedding are the one its outputs read. A
difference that holds in one and not in another is a statement about the basis. The learned gain of the final norm
stretches coordinates before they are read, so each basis comes with and without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array
from sparsity.kernels.evaluation import evaluate
from sparsity.kernels.matrices import Matrix, as_matrix
from sparsity.specs import MetricSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """A named linear view of states: ``((x * gain) - centre) @ axes``; None leaves a step out.

    Attributes:
        name: as stored in the ``basis`` column.
        axes: (d, k) orthonormal columns.
        centre: (d,) subtracted first, after the gain.
        gain: (d,) the learned gain of a norm.
    """

    name: str
    axes: Matrix | None = None
    centre: NDArray[np.float64] | None = None
    gain: NDArray[np.float64] | None = None

    def project(self, x: Array) -> Matrix:
        """Give the coordinates of a set of vectors in this basis, (n, k)."""
        rows = as_matrix(x, f"basis {self.name}")
        rows = rows if self.gain is None else rows * self.gain
        rows = rows if self.centre is None else rows - self.centre
        return rows if self.axes is None else rows @ self.axes


def neuron_basis(*, gain: Array | None = None) -> Basis:
    """The coordinates as they are, or stretched by the gain of a norm."""
    return Basis(name="raw" if gain is None else "raw*gain", gain=_vector(gain))


def pca_basis(reference: Array, *, gain: Array | None = None, centred: bool) -> Basis:
    """The principal axes of a reference group, largest first.

    Args:
        reference: (n, d) vectors with n >= d; with fewer, the axes span only what was seen.
        gain: the gain of a norm, applied to the reference and to what is projected.
        centred: whether the axes are those of the covariance, and the reference mean is subtracted, or those of the raw
            second moments.
    """
    rows = neuron_basis(gain=gain).project(reference)
    centre = rows.mean(axis=0) if centred else None
    axes = principal_axes(rows if centre is None else rows - centre)[:, : min(rows.shape)]
    name = ("pca" if centred else "pca_uncentred") + ("" if gain is None else "*gain")
    return Basis(name=name, axes=axes, centre=centre, gain=_vector(gain))


def principal_axes(rows: Matrix, weights: NDArray[np.float64] | None = None) -> Matrix:
    """Directions of largest mean square, largest first: the columns of (d, d), orthonormal.

    Centre the rows first for the axes of a covariance. A weight says how much a row counts. The axes are eigenvectors
    of the second moments: where a mean square is below 1e-16 of the largest, any direction will do as well.

    >>> import numpy as np
    >>> np.abs(principal_axes(np.array([[3.0, 0.1], [-3.0, 0.1]]))).round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    moments = rows.T @ (rows if weights is None else rows * weights[:, None])
    return np.linalg.eigh(moments).eigenvectors[:, ::-1]


def unembedding_basis(unembedding: Array, *, gain: Array | None = None) -> Basis:
    """The right singular vectors of the unembedding (vocabulary, d), in the order of its singular values."""
    axes = principal_axes(as_matrix(unembedding, "unembedding_basis"))
    name = "unembed" if gain is None else "unembed*gain"
    return Basis(name=name, axes=axes, gain=_vector(gain))


class PanelRow(NamedTuple):
    """The mean of a measure over one group of vectors in one basis."""

    group: str
    basis: str
    metric: str
    mean: float
    n: int
    n_undefined: int


def basis_panel(
    groups: Mapping[str, Array], bases: Iterable[Basis], metrics: Iterable[MetricSpec | str]
) -> list[PanelRow]:
    """Measure every group in every basis."""
    specs = [MetricSpec.parse(spec) if isinstance(spec, str) else spec for spec in metrics]
    rows: list[PanelRow] = []
    for basis in bases:
        for group, x in groups.items():
            columns = evaluate(basis.project(x), [spec.record.job(spec.keywords) for spec in specs])
            for spec, values in zip(specs, columns, strict=True):
                known = values[~np.isnan(values)]
                mean = float(known.mean()) if len(known) else np.nan
                rows.append(PanelRow(group, basis.name, str(spec), mean, len(values), len(values) - len(known)))
    return rows


def permute_columns(x: Array, rng: np.random.Generator) -> Matrix:
    """Shuffle every coordinate across the vectors on its own: marginals stay, what coordinates do together goes.

    Shuffling within a vector would be a no-op for every measure here.
    """
    return rng.permuted(as_matrix(x, "permute_columns"), axis=0)


def _vector(gain: Array | None) -> NDArray[np.float64] | None:
    return None if gain is None else np.asarray(gain, np.float64)
