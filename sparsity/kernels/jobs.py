"""A formula with its arguments bound, and the rule for undefined values that every way of running it keeps."""

from collections.abc import Callable
from typing import NamedTuple

from sparsity.kernels.arrays import Column
from sparsity.kernels.vectors import Vectors


class Job(NamedTuple):
    """One formula with its arguments, and what it promises about undefined input."""

    name: str
    kernel: Callable[..., Column]
    arguments: tuple[tuple[str, float | str], ...]
    at_zero: float | None
    min_width: int

    def formula(self, vectors: Vectors) -> Column:
        """Apply the formula; the rule for undefined values is :func:`defined`'s."""
        return self.kernel(vectors, **dict(self.arguments))


def defined(vectors: Vectors, job: Job, values: Column) -> Column:
    """Values of a job with its promise about undefined input kept: ``at_zero`` for zero vectors, NaN for non-finite."""
    where = vectors.fn.where
    if job.at_zero is not None:
        values = where(vectors.zero, job.at_zero, values)
    return where(vectors.finite, values, float("nan"))
