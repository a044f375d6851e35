"""Sets of vectors as float64 matrices, and the quantities of a spectrum that several measures of a set share.

A set is (n, d): one vector per row. It is measured in float64 on the CPU whatever it was stored in, because
covariances cancel. A row that is not finite makes a measure of the set NaN: leave such rows out first with
:func:`finite_rows`, which counts them.
"""

from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array, as_rows, promoted

Matrix: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.floating[Any]]
GOOD_SQUARES: Final = 1e-10  # of the largest: roots of eigenvalues above it are good
SMALLEST_SQUARE: Final = 1e-280  # below it squares lose digits, and then vanish


def as_matrix(x: Array, name: str, min_rows: int = 1) -> Matrix:
    """Check a set of vectors for the measure ``name`` and give it as float64 (n, d)."""
    batch = as_rows(x, name)
    if len(batch.shape) != 1:
        raise ValueError(f"{name} expects a set of vectors of shape (n, d), got shape {tuple(x.shape)}")
    if batch.shape[0] < min_rows:
        raise ValueError(f"{name} expects at least {min_rows} vectors, got {batch.shape[0]}")
    rows = cast("Any", batch.rows)
    return promoted(rows.cpu() if batch.is_tensor else rows).astype(np.float64)


class FiniteRows(NamedTuple):
    """The vectors of a set that are finite, and how many were left out."""

    rows: Matrix
    n_undefined: int


def finite_rows(x: Array) -> FiniteRows:
    """Leave out the vectors that hold a NaN or an infinity, and count them.

    >>> import numpy as np
    >>> finite_rows(np.array([[1.0, 2.0], [np.nan, 1.0]]))
    FiniteRows(rows=array([[1., 2.]]), n_undefined=1)
    """
    rows = as_matrix(x, "finite_rows", 0)
    kept = np.isfinite(rows).all(axis=1)
    return FiniteRows(rows[kept], int((~kept).sum()))


def covariance_spectrum(rows: Matrix) -> Spectrum:
    """Eigenvalues of the covariance (divided by n - 1), descending; at most min(n - 1, d) are above zero.

    Each is off by at most about n units in the last place of the largest one.
    """
    centred = rows - rows.mean(axis=0)
    spectrum: Spectrum = _squared_singular_values(centred) / (len(rows) - 1)
    return spectrum


def singular_values(rows: Matrix) -> Spectrum:
    """Singular values, descending; NaN when the matrix is not finite.

    They are roots of eigenvalues, which takes a third of the time of a decomposition and leaves the smallest good to
    n 2^-53 / (2 s^2), s being its ratio to the largest one; where s is below 1e-5 the decomposition is made.
    """
    squares = _squared_singular_values(rows)
    if squares[-1] > GOOD_SQUARES * squares[0] > SMALLEST_SQUARE:
        return np.sqrt(squares)
    return squares if np.isnan(squares).any() else np.linalg.svdvals(rows)


def _squared_singular_values(rows: Matrix) -> Spectrum:
    """Eigenvalues of the product of the matrix with itself, on its smaller side; descending, none below 0."""
    if not np.isfinite(rows).all():
        return np.full(min(len(rows), len(rows.T)), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        product = rows @ rows.T if len(rows) < len(rows.T) else rows.T @ rows
        if not np.isfinite(product).all():  # of magnitudes beyond 1e150
            return np.square(np.linalg.svdvals(rows))
    return np.clip(np.linalg.eigvalsh(product)[::-1], 0, None)


def participation(spectrum: Spectrum) -> float:
    """Effective number of equal entries by the second moment: (sum s)^2 / sum s^2."""
    return _ratio(float(spectrum.sum()) ** 2, float((spectrum**2).sum()))


def perplexity(spectrum: Spectrum) -> float:
    """Effective number of equal entries by Shannon's entropy: exp of the entropy of s / sum s."""
    total = float(spectrum.sum())
    if not total > 0:
        return np.nan
    shares = spectrum[spectrum > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def isotropy(spectrum: Spectrum, d: int) -> float:
    """IsoScore of an eigenvalue spectrum in d dimensions: 1 when all d are equal, 0 when one holds everything."""
    full = np.zeros(d)
    full[: len(spectrum)] = spectrum
    norm = float(np.linalg.norm(full))
    if not norm > 0 or d < 2:
        return np.nan
    defect = np.linalg.norm(np.sqrt(d) * full / norm - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    used = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return float((d * used - 1) / (d - 1))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else np.nan
