"""The same formulas on the device where a tensor lives.

Problem: states on a GPU must not cross to the CPU to be measured, and torch must not be imported by those who do not
use it. Idea: a block of vectors whose shared quantities are torch operations; the formulas above it do not change.
Nothing here synchronises with the host, so measuring inside a hook only queues work.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sparsity.kernels.arrays import Array, Block, Column, Rows
from sparsity.kernels.jobs import Job, defined
from sparsity.kernels.vectors import Vectors

# A block of 2^25 numbers needs about 1.2 GB: its order in float32, its logarithms and two more copies in float64.
DEVICE_NUMBERS = 1 << 25


class DeviceVectors(Vectors):
    """Rows of a torch tensor on any device, with the quantities of :class:`~sparsity.kernels.vectors.Vectors`."""

    def __init__(self, rows: Any) -> None:  # noqa: ANN401 -- a torch tensor, whose type is out of reach here
        torch: Any = sys.modules["torch"]
        self.fn = torch
        self.rows = rows if rows.dtype == torch.float64 else rows.to(_working(torch, rows))
        self.width = int(rows.shape[-1])
        magnitudes = self.rows.abs()
        peak = magnitudes.amax(dim=-1)
        self._kept = {("peak",): peak.double()}
        exponent = self._exponent()
        extreme = exponent.abs() >= (1022 if self.rows.dtype == torch.float64 else 126)
        half = torch.where(extreme, exponent // 2, 0)
        ones = torch.ones_like(peak)
        first, second = torch.ldexp(ones, half - exponent), torch.ldexp(ones, -half)
        self.taken = magnitudes * first[:, None] * second[:, None]
        self.divided = True

    def _ranked(self) -> Block:
        return self.taken.sort(dim=-1).values

    @property
    def wide(self) -> Block:
        """The magnitudes as they came, in float64."""
        return self.once(("wide",), lambda: self.rows.double().abs())

    def passing(self, name: str, block: Block) -> Block:
        """A block in float64, made anew each time, which a device does faster than it sorts by far."""
        del name
        return block.double()

    @property
    def squares(self) -> Block:
        """The squares of the magnitudes in float64."""
        return self.doubles**2

    def _logarithms(self) -> Block:
        tiny = self.fn.finfo(self.taken.dtype).tiny
        unit = self.fn.ldexp(self.taken.new_ones(len(self.taken)), -self._nearest(self.raw(("sum", 1))))
        return (self.taken * unit[:, None]).clamp(min=tiny).log().double()

    def smallest(self, values: Block) -> Column:
        """The smallest entry of each row."""
        return values.amin(dim=-1)

    def pick(self, values: Block, index: Block) -> Block:
        """One entry of each row, by a column of positions."""
        return self.fn.take_along_dim(values, index, dim=-1)

    def double(self, values: Column | Block) -> Column | Block:
        """Widen to float64."""
        return values.double()

    def row(self, make: Callable[[int], NDArray[np.float64]]) -> Block:
        """A constant vector of this width, on this device."""
        return self.fn.tensor(make(self.width), device=self.taken.device)

    def dot(self, left: Block, right: Block) -> Column:
        """Row-wise inner products of float64 blocks."""
        return (left * right).sum(dim=-1)


def evaluate_on_device(batch: Rows, jobs: Sequence[Job]) -> list[Array]:
    """Apply every job to a batch on its own device; see :func:`sparsity.kernels.evaluation.evaluate`."""
    torch: Any = sys.modules["torch"]
    rows = cast("Any", batch.rows)
    with torch.no_grad():
        step = max(1, DEVICE_NUMBERS // batch.width)
        pieces: list[list[Any]] = []
        for start in range(0, rows.shape[0], step):
            vectors = DeviceVectors(rows[start : start + step])
            pieces.append([defined(vectors, job, job.formula(vectors)) for job in jobs])
        if not pieces:
            return [torch.zeros(batch.shape, dtype=torch.float64, device=rows.device) for _ in jobs]
        return [torch.cat(column).reshape(batch.shape) for column in zip(*pieces, strict=True)]


def _working(torch: Any, rows: Any) -> Any:  # noqa: ANN401 -- torch and its tensors, whose types are out of reach here
    return torch.float32 if rows.is_floating_point() else torch.float64
