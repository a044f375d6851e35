"""Distances that rounding may put between two computations of one number: every tolerance of arithmetic, derived once.

With unit roundoff u, adding n terms in any order is off by at most gamma(n, u) = n u / (1 - n u) of the sum of their
sizes (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A tolerance that something else sets (the
size of a sample, the digits of a printed number) stands beside its test.
"""

from __future__ import annotations

from typing import Final

from analyses.data.differences import OTHER_ARITHMETIC, SAME_ARITHMETIC
from sparsity.kernels.vectors import ACCUMULATION, LOGARITHM

FLOAT32_ROUNDOFF: Final = 2.0**-24
FLOAT64_ROUNDOFF: Final = 2.0**-53


def gamma(n: int, roundoff: float) -> float:
    """Largest relative error of adding n terms, in any order and in a precision of this unit roundoff."""
    return n * roundoff / (1 - n * roundoff)


# A measure of one vector computed twice in float64, relative: two sums of at most 16,384 terms.
FLOAT64: Final = 2 * ACCUMULATION
# The same near zero, where a measure is a difference of numbers of size 1, absolute: two sums of at most 512 terms.
FLOAT64_NEAR_ZERO: Final = 2 * gamma(512, FLOAT64_ROUNDOFF)
# Numbers that go through an inverse or a root of a well-conditioned float64 matrix lose up to half the digits.
FLOAT64_SOLVED: Final = 2.0**-30
# A correlation of at most 200 items or their ranks computed in two ways, absolute. A mean is off by gamma of the sizes,
# which of ranks are 1.8 times the standard deviation; a product sum by gamma for adding and two such means, its two
# norms together by as much: 9 gamma each way.
CORRELATION: Final = 18 * gamma(200, FLOAT64_ROUNDOFF)
# A two-sided p of a normal z below 6, relative: it moves by z (z + 1/z) < 40 times as much as z.
P_VALUE: Final = 40 * CORRELATION
# A measure of a float32 vector and of the same numbers in float64, as a share of its range: only logarithms are float32
# (sparsity.kernels.vectors.Vectors.log_sum derives the factor).
FLOAT32: Final = 1.51 * LOGARITHM
# The same of flat and one-hot vectors, where entropies are the sum of one logarithm or of equal ones: at most 2 (ln d +
# ln(2)/2) logarithms off, as a share of the range, which is ln d, or of 1.
FLOAT32_ENDS: Final = 3 * LOGARITHM
# What back ends promise each other (design.md), as a share of the range; above twice FLOAT32.
BACK_ENDS: Final = SAME_ARITHMETIC
# A float64 number beside the same one as a table stores it: rounded to float32 once, and a mean of such numbers.
STORED: Final = SAME_ARITHMETIC
# A measure of states that a model computed in another batch, in another order or by another route: its matrix products
# add up in another order. Relative (design.md: any other composition agrees to 1e-5).
REBATCHED: Final = OTHER_ARITHMETIC
# The same near zero, absolute: states move by gamma(32 to 64, u) = 2e-6 to 4e-6 of their length at the widths of the
# tests, a measure of range 1 by no more than that.
NEAR_ZERO: Final = gamma(64, FLOAT32_ROUNDOFF)
# Log-probabilities and means of them, relative. A model of growth, not a bound, for products need not cancel: each of
# the six matrix products that a state passes in a block adds gamma(width), and so do five blocks and the head
# (stories260K, 5 x 64, the deepest model of these tests). Seen (AVX-512): at a tenth of it 227 of 228 tests of the
# files that use it pass, and one needs 2e-5, the difference of two log-probabilities.
PRODUCTS: Final = 6
LOGITS: Final = (PRODUCTS * 5 + 1) * gamma(64, FLOAT32_ROUNDOFF)
# The same of two routes through float32 of which each is off by that much: the model and a basis, an edit or a mixture
# behind it on one side, and on the other.
TWO_ROUTES: Final = 2 * LOGITS
