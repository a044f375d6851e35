"""Arithmetic that gives the same bits in whatever order its sums are made.

Rounding makes a floating-point sum depend on order, so on batch, threads, kernel and machine. A sum that needs no
rounding does not: numbers are first put on a grid (whole multiples of a power of two) so coarse that every partial sum
of every order is exact in float64's 53 bits, fused multiply-adds included. What is left are single operations on single
numbers (+, -, *, /, square root), whose results IEEE 754 prescribes to the last bit; exponentials, cosines and sines
are made of these or of whole numbers, because libraries differ about them.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float64
from torch import Tensor

MANTISSA: Final = 53
EXPONENT: Final = 0x7FF0_0000_0000_0000
LEAST: Final = 2.0**-500
WEIGHT_BITS: Final = 30
"""Exponentials are put on a grid of 2^-30, so that four million of them are summed exactly."""
SCORE_BITS: Final = 12
"""Scores of attention are told apart in steps of 2^-12, finer than bfloat16 stores one above 16."""
SHARE_BITS: Final = 22
"""Shares of attention, before they are normalised, are on a grid of 2^-22."""
LOWEST: Final = -64.0
LOG2_E: Final = 1.4426950408889634
POWERS_OF_TWO: Final = (  # of 2^f for |f| <= 1/2: ln(2)^n / n!, from the seventh down; the rest is below 6e-9
    1.5252733804059841e-05,
    1.5403530393381609e-04,
    1.3333558146428443e-03,
    9.6181291076284772e-03,
    5.5504108664821580e-02,
    2.4022650695910072e-01,
    6.9314718055994531e-01,
    1.0,
)
FRACTION: Final = 128
"""Bits behind the point of the whole numbers that angles are computed in."""


def bits_for(n_terms: int) -> int:
    """Bits that the factors of a sum of products may have.

    >>> bits_for(64), bits_for(288)
    (23, 22)
    """
    return (MANTISSA - max(n_terms - 1, 1).bit_length()) // 2


def on_row_grid(x: Float64[Tensor, "*rows terms"], bits: int) -> Float64[Tensor, "*rows terms"]:
    """Each row on a grid of its own: at most ``2^bits`` steps from 0 to its largest magnitude."""
    top = x.abs().amax(-1, keepdim=True).clamp_(min=LEAST)
    step = (top.view(torch.int64) & EXPONENT).view(torch.float64) * 2.0 ** (1 - bits)  # at most 2^bits steps
    return _rounded(x, step * (1.5 * 2.0**52))


def on_grid(x: Float64[Tensor, "*shape"], step: float) -> Float64[Tensor, "*shape"]:
    """Numbers on one grid; ``step`` is a power of two and no number is above 2^51 steps."""
    return _rounded(x, step * (1.5 * 2.0**52))


def exp_below_zero(x: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Exponentials of numbers that are not positive, to 6e-9 of their value; 0 below -64."""
    t = x.clamp(min=LOWEST - 1) * LOG2_E
    whole = t.round()
    t -= whole
    power = t * POWERS_OF_TWO[0]
    for coefficient in POWERS_OF_TWO[1:-1]:
        power += coefficient
        power *= t
    power += POWERS_OF_TWO[-1]
    power *= ((whole.long() + 1023) << 52).view(torch.float64)
    return power.masked_fill_(x < LOWEST, 0.0)


def weights_of(logits: Float64[Tensor, "*rows symbols"]) -> Float64[Tensor, "*rows symbols"]:
    """Exponentials less the largest of their row, on a grid on which they can be summed in any order."""
    return on_grid(exp_below_zero(logits - logits.amax(-1, keepdim=True)), 2.0**-WEIGHT_BITS)


def share_table() -> Float64[Tensor, " steps"]:
    """Table of exp(-n / 2^SCORE_BITS) on the grid of shares: weight of a score n steps below the best of its row.

    It ends with the first entry that rounds to zero.

    >>> share_table()[[0, 4096, -1]]
    tensor([0.9999, 0.3678, 0.0000], dtype=torch.float64)
    """
    n_steps = SHARE_BITS << SCORE_BITS  # exp(-22) is far below 2^-23
    below = (torch.arange(n_steps, dtype=torch.float64) + 0.5) * -(2.0**-SCORE_BITS)
    shares = on_grid(exp_below_zero(below), 2.0**-SHARE_BITS)
    return shares[: int(shares.count_nonzero()) + 1].clone()


def norms(rows: Float64[Tensor, "rows terms"]) -> Float64[Tensor, " rows"]:
    """Euclidean lengths, to the precision of the grid."""
    return on_row_grid(rows, bits_for(rows.shape[-1])).square_().sum(-1).sqrt_()


def angles(n_positions: int, n_frequencies: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of ``position * base ** (-i / n_frequencies)``, by whole numbers alone.

    Returns:
        Both ``(positions, frequencies)`` in float64.

    >>> cosines, sines = angles(3, 2, 10000.0)
    >>> round(cosines[2, 0].item(), 6), round(sines[2, 1].item(), 6)
    (-0.416147, 0.019999)
    """
    one = 1 << FRACTION
    columns = [_turns(n_positions, _power(base, i, n_frequencies), one) for i in range(n_frequencies)]
    found = torch.tensor(columns, dtype=torch.float64)  # frequencies, positions, (cosine, sine)
    return found[..., 0].T.contiguous(), found[..., 1].T.contiguous()


def _turns(n_positions: int, angle: int, one: int) -> list[tuple[float, float]]:
    """Cosine and sine of 0, 1, 2 ... times an angle, each from the one before."""
    cosine_step, sine_step = _cosine_and_sine(angle, one)
    cosine, sine = one, 0
    found: list[tuple[float, float]] = []
    for _ in range(n_positions):
        found.append((cosine / one, sine / one))  # the quotient of whole numbers is rounded correctly
        cosine, sine = (
            (cosine * cosine_step - sine * sine_step) >> FRACTION,
            (sine * cosine_step + cosine * sine_step) >> FRACTION,
        )
    return found


def _cosine_and_sine(angle: int, one: int) -> tuple[int, int]:
    sums = [one, 0]
    term, n = one, 0
    while term:
        n += 1
        term = (term * angle >> FRACTION) // n
        sums[n % 2] += -term if n % 4 in (2, 3) else term
    return sums[0], sums[1]


def _power(base: float, numerator: int, denominator: int) -> int:
    """``base ** (-numerator / denominator)`` with ``FRACTION`` bits behind the point, by bisection on whole numbers."""
    top, bottom = base.as_integer_ratio()
    low, high = 0, 1 << FRACTION
    while high - low > 1:  # x is too large iff x ** denominator > base ** -numerator
        middle = (low + high) // 2
        if middle**denominator * top**numerator > bottom**numerator << (FRACTION * denominator):
            high = middle
        else:
            low = middle
    return low if numerator else high


def _rounded(x: Tensor, magic: Tensor | float) -> Tensor:
    """The nearest multiples of a step: adding 1.5 * 2^52 steps leaves no bit below one step."""
    found = x + magic
    found -= magic
    return found


def exponent_above(bound: float) -> int:
    """The least whole number whose power of two is above a bound.

    >>> exponent_above(5.0), exponent_above(8.0)
    (3, 4)
    """
    return math.frexp(bound)[1]
