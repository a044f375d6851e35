"""Changes of entropy and loss when coordinates are pinned, beside those of an equally large push elsewhere.

The controls of a sweep set the carrying coordinates of every reservoir item to their mean in the reference group, and
push as many others as far in random directions. Each arm is read with the final norm recomputed and with its scale
frozen at that of the clean pass, because a coordinate may act through the norm alone. Changes are per item against the
clean pass on the same tokens, so what an item is about cancels.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from analyses.data.panels import OUTCOME, Panel
from analyses.statistics.groups import cluster_means
from analyses.statistics.resampling import Estimate
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.names import Arm, Intervened, Norm

ENTROPY: Final = "next_token_entropy"
LOSS: Final = "nll"
NORMS: Final[tuple[Norm, Norm]] = ("recomputed", "frozen")


class Cell(NamedTuple):
    """One outcome under one treatment of the norm.

    Attributes:
        clean: mean of the outcome when nothing is done.
        pinned: its mean with the coordinates pinned.
        pin: change by pinning.
        random: change by an equally large random push.
        beyond: change by pinning less that by the push.
    """

    clean: float
    pinned: float
    pin: Estimate
    random: Estimate
    beyond: Estimate


class Pinned(NamedTuple):
    """Effect of pinning m coordinates at a site on some items.

    Attributes:
        site: where.
        m: how many coordinates.
        prefix: ``mean_`` where outcomes are means over tokens, else empty.
        n: items.
        n_clusters: independent ones.
        cells: by outcome (entropy or loss) and treatment of the norm; what was not recorded is not there.
    """

    site: str
    m: int
    prefix: str
    n: int
    n_clusters: int
    cells: dict[tuple[str, Norm], Cell]

    @property
    def pattern(self) -> str:
        """Summary of the four signs together.

        ``temperature``: with the norm recomputed the output gets surer and worse, with the norm frozen less sure and
        better (or both the other way round), each interval without zero and beyond an equal push. ``something``:
        pinning changes an outcome beyond an equal push, in another pattern. ``nothing told``: no interval says so.
        """
        wanted: list[tuple[str, Norm]] = [(outcome, norm) for outcome in (ENTROPY, LOSS) for norm in NORMS]
        if all(key in self.cells for key in wanted):
            signs = [self.cells[key].pin.sign for key in wanted]
            told = all(self.cells[key].beyond.sign == sign != 0 for key, sign in zip(wanted, signs, strict=True))
            if told and signs[0] == -signs[1] == -signs[2] == signs[3]:
                return "temperature"
        return "something" if any(cell.beyond.sign for cell in self.cells.values()) else "nothing told"


def pinned_sites(panel: Panel) -> list[tuple[str, int, str]]:
    """Site, number of coordinates and prefix of every intervention that a panel's outcomes hold, fewest first."""
    found: set[tuple[str, int, str]] = set()
    for name in panel.items.columns:
        read = Intervened.parse(str(name).removeprefix(OUTCOME)) if str(name).startswith(OUTCOME) else None
        if read is not None and read.arm == "pin":
            found.add((read.site, read.m, "mean_" if read.outcome.startswith("mean_") else ""))
    return sorted(found, key=lambda entry: (entry[1], entry[0], entry[2] == ""))


def pinned(
    panel: Panel, rows: Bool[np.ndarray, " items"], site: str, m: int, prefix: str, rng: np.random.Generator
) -> Pinned | None:
    """Compute the effect of pinning on some items; None where none of them has a clean and a pinned outcome."""
    cells: dict[tuple[str, Norm], Cell] = {}
    used = np.zeros(len(rows), dtype=bool)
    for outcome in (ENTROPY, LOSS):
        clean = _outcome(panel, Intervened(prefix + outcome, "clean"))
        for norm in NORMS:
            own, random = (_outcome(panel, Intervened(prefix + outcome, arm, site, m, norm)) for arm in _ARMS)
            known = rows & np.isfinite(clean) & np.isfinite(own)
            if known.sum() < 2:
                continue
            used |= known
            changes = np.column_stack([own - clean, random - clean, own - random])[known]
            means = cluster_means(changes, panel.clusters[known], resamples=RESAMPLES, rng=rng)
            by_arm = [
                Estimate(float(means.mean[i]), float(means.low[i]), float(means.high[i])) for i in range(len(changes.T))
            ]
            cells[outcome, norm] = Cell(float(clean[known].mean()), float(own[known].mean()), *by_arm)
    if not cells:
        return None
    return Pinned(site, m, prefix, int(used.sum()), len(np.unique(panel.clusters[used])), cells)


_ARMS: Final[tuple[Arm, Arm]] = ("pin", "random")


def _outcome(panel: Panel, read: Intervened) -> Float[np.ndarray, " items"]:
    values = panel.outcome(str(read))
    return np.full(len(panel.items), math.nan) if values is None else values
