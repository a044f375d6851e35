"""Many measures of one block of vectors in one pass.

Problem: measuring inside a hook must cost next to nothing beside the forward pass, and the eight default measures
share one sort, one logarithm and a few sums. Idea: :func:`profile` hands all formulas to one walk over cache-sized
blocks. It has no arithmetic of its own, so it equals the single functions to the last bit.
"""

from collections.abc import Iterable

from sparsity.kernels.arrays import A
from sparsity.kernels.evaluation import evaluate
from sparsity.specs import DEFAULT_METRICS, MetricSpec, parse_metrics


def profile(
    x: A, metrics: str | MetricSpec | Iterable[str | MetricSpec] = DEFAULT_METRICS, threads: int = 1
) -> dict[str, A]:
    """Measure every vector on the last axis of ``x``, in one pass.

    Args:
        x: activations, coordinates on the last axis; numpy or torch.
        metrics: names, ``name(value)`` texts or specs; ``default`` for the default set.
        threads: how many threads share the blocks of a CPU array; their number changes no bit of a value.

    Returns:
        The written form of each measure, in the order asked, with one float64 per vector on the back end of ``x``.

    Raises:
        UnknownNameError: for a measure that does not exist, with the nearest names.
        ValueError: for a duplicate, a parameter out of its domain, or an ``x`` that is not a batch of real vectors.

    >>> import numpy as np
    >>> profile(np.array([[0.0, 0.0, 0.0, 2.0]]), ["gini", "l2_norm"])
    {'gini': array([0.75]), 'l2_norm': array([2.])}
    """
    specs = parse_metrics(metrics)
    values = evaluate(x, [spec.record.job(spec.keywords) for spec in specs], threads)
    return {str(spec): value for spec, value in zip(specs, values, strict=True)}
