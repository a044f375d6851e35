"""The measures as the tests call them: every registered measure with at least one choice of its parameters."""

import numpy as np
from numpy.typing import NDArray

from sparsity import METRICS, MetricSpec

PARAMETERS: dict[str, tuple[tuple[float | str, ...], ...]] = {
    "pq_index": ((0.5, 2.0), (1.0, 2.0), (0.5, 1.5)),
    "top_k_share": ((0.1,), (0.37,)),
    "top_k_energy": ((0.05,), (0.1,), (0.37,)),
    "near_zero_fraction": ((0.1, "rms"), (0.05, "max"), (0.5, "max")),
    "density_at_energy": ((0.9,), (0.5,)),
    "near_zero_count": ((0.2,),),
    "negative_lp": ((0.5,),),
    "negative_tanh": ((1.0, 1.0), (2.0, 0.5)),
    "u_theta": ((0.5,),),
    "negative_lp_minus": ((-1.0,),),
    "pq_mean": ((0.5, 2.0), (1.0, 2.0), (0.5, 1.5)),
}

without = [name for name, record in METRICS.items() if record.parameters and name not in PARAMETERS]
assert not without, f"add choices of the parameters of {without} to PARAMETERS in tests/sparsity/cases.py"
ALL: tuple[MetricSpec, ...] = tuple(
    MetricSpec(name, arguments) for name in METRICS for arguments in PARAMETERS.get(name, ((),))
)
INVARIANT = tuple(spec for spec in ALL if spec.record.scale == "invariant")
# Counts jump where a magnitude crosses a threshold, so two roundings of one vector may differ by a whole coordinate.
COUNTS = frozenset(spec for spec in ALL if spec.record.carrier == "count")


def evaluate(spec: MetricSpec, x: NDArray) -> NDArray:
    """Call the public function of a measure with its parameters."""
    return spec.record.function(x, **spec.keywords)


def declared_range(spec: MetricSpec, d: int) -> float:
    """Width of the declared bounds, or 1 where there are none."""
    low, high = spec.record.bounds(d, spec.keywords)
    return high - low if np.isfinite(high - low) else 1.0
