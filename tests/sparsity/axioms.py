"""The six axioms as moves of wealth: what a legal move is, and which way a measure should respond.

A vector of wealth c >= 0 is moved to another one. An axiom says that the oriented measure S (larger is sparser)
should fall, rise or stay. The wealth is |x| or x^2; a measure is always called with the vector x whose wealth is c.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsity import Axiom, MetricSpec
from tests.sparsity.cases import evaluate
from tests.tolerances import FLOAT64

EXPECTED = {
    Axiom.ROBIN_HOOD: "falls",
    Axiom.SCALING: "stays",
    Axiom.RISING_TIDE: "falls",
    Axiom.CLONING: "stays",
    Axiom.BILL_GATES: "rises",
    Axiom.BABIES: "rises",
}
# Float64 rounding moves a value by at most 1e-13 of its size here; the moves drawn below by more than 1e-9.
RESOLUTION = 1e-11
# Wealth is drawn and stored with three decimals, amounts that move with four: far coarser than this.
DECIMALS = 1e-9
# Bill Gates says "from some wealth on"; a rung of this ladder, times the wealth of all, is where the coordinate starts.
LADDER = (1.0, 4.0, 16.0)


class Move(NamedTuple):
    """A legal move under an axiom."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]


def oriented(spec: MetricSpec, wealth: str, c: NDArray[np.float64]) -> NDArray[np.float64]:
    """S of a vector, or of many vectors of one width, whose wealth is ``c``."""
    sign = -1.0 if spec.record.sparser == "lower" else 1.0
    return sign * evaluate(spec, c if wealth == "magnitude" else np.sqrt(c))


def responses(axiom: Axiom, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.str_]:
    """Name the response to each move: as demanded, a tie, or against the axiom."""
    change = (after - before) / np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
    change = np.where(np.abs(change) <= RESOLUTION, 0.0, change)
    if EXPECTED[axiom] == "stays":
        named = np.where(change == 0, "demanded", "against")
        return np.where(np.isnan(change), "undefined", named)
    wanted = change if EXPECTED[axiom] == "rises" else -change
    named = np.where(wanted > 0, "demanded", np.where(wanted == 0, "tie", "against"))
    return np.where(np.isnan(change), "undefined", named)


def draw_wealth(rng: np.random.Generator, count: int, d: int) -> NDArray[np.float64]:
    """Uneven, tied, sparse, nearly equal and crowded vectors of several sizes; two unequal coordinates above zero."""
    uniform = rng.uniform(0.01, 1, (count, d))
    kinds = [
        uniform,
        np.minimum(rng.lognormal(-1, 1, (count, d)), 4),
        np.round(4 * uniform) / 4,
        np.where(rng.random((count, d)) < 0.6, 0.0, uniform),
        1 + 0.1 * uniform,
        10 ** (3 * uniform - 3),
        np.where(np.arange(d) < rng.integers(1, d, (count, 1)), 0.5 + uniform / 2, 0.01),
        # Two giants over a crowd: what a rich coordinate gives to a slightly less rich one.
        np.where(np.arange(d) < 2, 2 + 2 * uniform, 0.01),
    ]
    c = np.stack(kinds)[rng.integers(len(kinds), size=count), np.arange(count)]
    c = np.round(c * rng.choice([0.25, 1.0], (count, 1)), 3)
    return c[[len(set(row[row > 0])) >= 2 for row in c]]


def draw_moves(axiom: Axiom, rng: np.random.Generator, count: int, d: int) -> list[Move]:
    """Many legal moves of one width, big enough to be told from rounding: one batch, or one per rung for Bill Gates."""
    c = draw_wealth(rng, count, d)
    index, size = np.arange(len(c)), (len(c), 1)
    if axiom is Axiom.SCALING:
        # Powers of two, so that a tie with a threshold stays a tie; any other factor in test_invariances.
        return [Move(c, c * rng.choice([0.125, 0.5, 4.0, 64.0], size))]
    if axiom is Axiom.CLONING:
        return [Move(c, np.concatenate([c, c], axis=-1))]
    if axiom is Axiom.BABIES:
        return [Move(c, np.concatenate([c, np.zeros(size)], axis=-1))]
    if axiom is Axiom.RISING_TIDE:
        return [Move(c, c + np.maximum(0.01, np.round(c.max(-1, keepdims=True) * rng.uniform(0.05, 1, size), 2)))]
    if axiom is Axiom.BILL_GATES:
        chosen, growth = rng.integers(d, size=len(c)), np.round(rng.uniform(0.2, 3, len(c)), 1)
        moves: list[Move] = []
        for rung in LADDER:
            before, after, rich = c.copy(), c.copy(), rung * np.maximum(1.0, np.ceil(c.sum(-1)))
            before[index, chosen] += rich
            after[index, chosen] += rich * (1 + growth)
            moves.append(Move(before, after))
        return moves
    first, second = rng.integers(d, size=(2, len(c)))
    first, second = np.where(rng.random(len(c)) < 0.3, 0, first), np.where(rng.random(len(c)) < 0.3, 1, second)
    gap = c[index, first] - c[index, second]
    keep = gap > np.maximum(0.004, 0.05 * c.max(-1))
    c, first, second, gap = c[keep], first[keep], second[keep], gap[keep]
    after, index = c.copy(), np.arange(len(c))
    given = np.round(gap * rng.uniform(0.1, 0.45, len(c)), 4)
    after[index, first] -= given
    after[index, second] += given
    return [Move(c, after)]


def verdicts(axiom: Axiom, spec: MetricSpec, wealth: str, moves: list[Move]) -> NDArray[np.str_]:
    """One response per drawn move; under Bill Gates one that holds from some rung on."""
    rungs = np.array(
        [responses(axiom, oriented(spec, wealth, m.before), oriented(spec, wealth, m.after)) for m in moves]
    )
    if axiom is not Axiom.BILL_GATES:
        return rungs[0]
    never = (rungs != "demanded").all(0)
    against = never & (rungs == "against").any(0)
    named = np.where(rungs[-1] == "demanded", "demanded", np.where(against, "against", "tie"))
    unclear = (rungs[-1] == "against") & ~never
    return np.where((rungs == "undefined").any(0) | unclear, "undefined", named)


def is_legal(axiom: Axiom, move: Move) -> bool:
    """Say whether a stored move is one the axiom speaks about."""
    before, after = move
    wealth = (before >= 0).all() and (after >= 0).all() and (before > 0).sum() >= 2
    return bool(wealth and LEGAL[axiom](before, after))


def _scales(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    ratio = after[before > 0] / before[before > 0]
    return bool(np.allclose(ratio, ratio[0], rtol=FLOAT64) and not after[before == 0].any() and ratio[0] != 1)


def _lifts_all(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    change = after - before
    return bool(np.allclose(change, change[0], rtol=DECIMALS) and change[0] > 0 and np.ptp(before) > 0)


def _enriches_one(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    changed = np.flatnonzero(after != before)
    return len(changed) == 1 and bool(after[changed[0]] > before[changed[0]])


def _robs_the_rich(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    changed = np.flatnonzero(after != before)
    if len(changed) != 2:
        return False
    poor, rich = sorted(changed, key=lambda i: before[i])
    given, gap = after[poor] - before[poor], before[rich] - before[poor]
    return bool(np.isclose(given, before[rich] - after[rich], rtol=DECIMALS) and 0 < given < gap / 2)


LEGAL = {
    Axiom.ROBIN_HOOD: _robs_the_rich,
    Axiom.SCALING: _scales,
    Axiom.RISING_TIDE: _lifts_all,
    Axiom.CLONING: lambda before, after: np.array_equal(after, np.concatenate([before, before])),
    Axiom.BILL_GATES: _enriches_one,
    Axiom.BABIES: lambda before, after: np.array_equal(after, np.append(before, 0.0)),
}
