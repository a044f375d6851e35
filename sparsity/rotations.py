"""Is a difference between two groups a matter of the basis? The same difference under many shared random rotations.

The average of a measure over rotations of any vector is the constant of ``sparsity.nulls``, whatever made the vector;
so a measure that "returns to chance after rotation" shows nothing. What does: whether the difference between two
groups is larger in the given basis than under rotations that are shared by both groups. Those keep everything about
the two groups (their covariances, their distance, their norms) except the alignment with the coordinates.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array
from sparsity.kernels.evaluation import evaluate
from sparsity.kernels.matrices import Matrix, as_matrix
from sparsity.specs import MetricSpec


class RotationTest(NamedTuple):
    """A group difference against its distribution over shared rotations.

    Attributes:
        change: mean of the shifted group minus mean of the reference group, in the given basis, signed so that positive
            means the shifted group is sparser.
        excess: ``change`` minus its mean over rotations: what the basis adds.
        z: ``excess`` in standard deviations over rotations.
        p: two-sided rank p-value of ``change`` among the rotated ones, (1 + exceedances) / (1 + rotations).
        rotated: the changes under the rotations.
    """

    change: float
    excess: float
    z: float
    p: float
    rotated: NDArray[np.float64]


def rotation_test(
    reference: Array, shifted: Array, spec: MetricSpec | str, *, rotations: int, rng: np.random.Generator
) -> RotationTest:
    """Compare the change of a measure between two groups with its distribution over shared Haar rotations.

    Args:
        reference: (n, d) vectors of the reference group.
        shifted: (m, d) vectors of the other group.
        spec: a measure of sparsity (one with a direction).
        rotations: how many rotations; 200 or more for a p-value of .005.
        rng: draws the rotations.
    """
    return rotation_tests(reference, [shifted], spec, rotations=rotations, rng=rng)[0]


def rotation_tests(
    reference: Array,
    shifted: Sequence[Array],
    spec: MetricSpec | str,
    *,
    rotations: int,
    rng: np.random.Generator,
    pause: Callable[[], None] = lambda: None,
) -> list[RotationTest]:
    """:func:`rotation_test` of several groups against one reference, under rotations that all of them share.

    Rotations are drawn in float64 and made and applied in float32: orthogonal to sqrt(d) 2^-24, and as uniform, but
    another one than float64 makes of the same draw by about the condition number of the Gaussian matrix times 2^-24.
    ``change`` is of the vectors as they are. ``pause`` is called before every rotation and may raise to break off.
    """
    spec = MetricSpec.parse(spec) if isinstance(spec, str) else spec
    if spec.record.sparser is None:
        raise ValueError(f"{spec} measures size and has no direction; ask for a measure of sparsity")
    if rotations < 2:
        raise ValueError(f"rotation_test expects at least 2 rotations, got {rotations}")
    sets = [as_matrix(x, "rotation_test") for x in (reference, *shifted)]
    sign = 1.0 if spec.record.sparser == "higher" else -1.0

    job, ends = spec.record.job(spec.keywords), np.cumsum([len(rows) for rows in sets])[:-1]

    def changes_of(rows: NDArray[Any]) -> Matrix:
        means = [np.nanmean(own) for own in np.split(np.asarray(evaluate(rows, [job])[0], np.float64), ends)]
        return sign * (np.array(means[1:]) - means[0])

    exact = np.concatenate(sets)
    single = exact.astype(np.float32)

    def rotated_once() -> Matrix:
        pause()
        return changes_of(single @ _single_rotation(sets[0].shape[1], rng))

    changes = changes_of(exact)
    drawn = np.array([rotated_once() for _ in range(rotations)])
    return [_tested(float(change), rotated) for change, rotated in zip(changes, drawn.T, strict=True)]


def _tested(change: float, rotated: NDArray[np.float64]) -> RotationTest:
    excess, sd = change - float(rotated.mean()), float(rotated.std(ddof=1))
    exceeded = int((np.abs(rotated - rotated.mean()) >= abs(excess)).sum())
    return RotationTest(change, excess, excess / sd if sd else np.nan, (1 + exceeded) / (1 + len(rotated)), rotated)


def haar_rotation(d: int, rng: np.random.Generator) -> Matrix:
    """Draw an orthogonal matrix uniformly.

    Source: Mezzadri (2007), Notices AMS 54: the QR factorisation of a Gaussian matrix is uniform only once the signs of
    the diagonal of R are fixed.
    """
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diagonal(r)), np.float64)


def _single_rotation(d: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The rotation that :func:`haar_rotation` draws, made in float32, which numpy's own factorisation cannot."""
    from scipy.linalg import qr  # noqa: PLC0415 -- scipy stays out of `import sparsity`

    q, r = qr(rng.standard_normal((d, d)).astype(np.float32), check_finite=False)
    return np.asarray(q * np.sign(np.diagonal(r)), np.float32)
