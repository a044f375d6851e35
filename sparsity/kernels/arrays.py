"""Checked entry for numpy arrays and torch tensors, and the way back to the caller's type.

Problem: a measure must accept what a notebook or a hook hands it (numpy or torch, half precision, any strides) and
must never turn the wrong thing into a number. Idea: one gate, :func:`as_rows`, that names the measure in every
complaint and yields a two-dimensional view of real floating-point rows; everything behind it deals with clean blocks
only. torch is found in ``sys.modules``: whoever holds a tensor has imported it, and nobody else should pay for it.

Accepted: float arrays of every precision (half and bfloat16 are promoted to float32, long double becomes float64),
integers (promoted to float64), read-only and strided views, empty batches. Refused, with a ``ValueError``: booleans (a
mask is not an activation), complex numbers, objects, masked arrays (their hidden entries would be counted),
zero-dimensional arrays, and vectors narrower than a measure needs.
"""

import sys
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Number: TypeAlias = float | int


@runtime_checkable
class Array(Protocol):
    """A numpy array or a torch tensor: all that this package asks of either in a signature."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        ...

    @property
    def ndim(self) -> int:
        """The number of axes."""
        ...


A = TypeVar("A", bound=Array)

# What the formulas are written in: one float64 value per vector, and one block of them (n, d). numpy and torch share
# the operators used here but no type that says so.
Column: TypeAlias = Any
Block: TypeAlias = Any


class Rows(NamedTuple):
    """A checked batch of vectors: ``rows`` is (n, d) on its own back end, ``shape`` the batch shape to give back."""

    rows: Array
    shape: tuple[int, ...]
    width: int
    is_tensor: bool


def is_tensor(x: object) -> bool:
    """Say whether ``x`` is a torch tensor, without importing torch.

    >>> is_tensor(np.zeros(3))
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def as_rows(x: object, name: str, min_width: int = 1) -> Rows:
    """Check ``x`` for the measure ``name`` and view it as (n, d); the last axis holds the coordinates.

    Raises:
        ValueError: if ``x`` is not a real numeric array with at least one axis and ``min_width`` coordinates.
    """
    if is_tensor(x):
        tensor = cast("Any", x).detach()
        kind = "float" if tensor.is_floating_point() else str(tensor.dtype)
        integral = not tensor.is_complex() and str(tensor.dtype) != "torch.bool"
    elif isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise ValueError(
                f"{name} expects a plain array, got a masked one; fill it or drop the masked entries first"
            )
        tensor = np.asarray(cast("NDArray[Any]", x))
        kind = "float" if tensor.dtype.kind == "f" else str(tensor.dtype)
        integral = tensor.dtype.kind in "iu"
    else:
        raise ValueError(
            f"{name} expects a numpy array or a torch tensor, got {type(x).__name__}; wrap it in np.asarray"
        )
    if kind != "float" and not integral:
        raise ValueError(f"{name} expects real numbers, got {kind}; convert to a float type first")
    if tensor.ndim == 0:
        raise ValueError(f"{name} expects vectors on the last axis, got a zero-dimensional array")
    width = int(tensor.shape[-1])
    if width < min_width:
        raise ValueError(
            f"{name} expects at least {min_width} coordinates on the last axis, got shape {tuple(tensor.shape)}"
        )
    shape = tuple(int(size) for size in tensor.shape[:-1])
    count = int(np.prod(shape, dtype=np.int64))
    return Rows(tensor.reshape(count, width), shape, width, not isinstance(tensor, np.ndarray))


def viewed(rows: Array) -> Array:
    """A float32 or float64 tensor on the CPU as the array over its memory, which is cut into blocks in less time."""
    tensor = cast("Any", rows)
    return tensor.numpy() if is_tensor(rows) and tensor.is_floating_point() and tensor.element_size() >= 4 else rows


def promoted(rows: Array) -> Floats:
    """Copy or view a block of rows on the CPU as float32 or float64: half precision is stored, never computed in.

    The block is contiguous, because sums over strided memory are added in another order and would round differently.
    """
    if is_tensor(rows):
        tensor = cast("Any", rows)
        narrow = tensor.is_floating_point() and tensor.element_size() < 4
        wide = tensor.float() if narrow else tensor if tensor.is_floating_point() else tensor.double()
        return np.ascontiguousarray(wide.numpy())
    block = cast("NDArray[Any]", rows)
    single = block.dtype.kind == "f" and block.dtype.itemsize <= 4
    return np.ascontiguousarray(block, dtype=np.float32 if single else np.float64)
