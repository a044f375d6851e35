"""Scores of documents as a table of systems, with intervals over documents.

Bits per byte and perplexity are of all documents and seeds together. Two systems are compared on the same documents:
the difference of their bits per byte, with an interval from resampling whole documents (percentiles; a document that
several seeds have drawn is one). Below 0 the first needs fewer bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd

from probes.memory.comparison.experiment import BASE, KNN, Score

RESAMPLES: Final = 4000
LEVEL: Final = 0.95
COLUMNS: Final = (
    *("system", "n_seeds", "share", "temperature", "domain_bits_per_byte", "domain_perplexity"),
    *("source_bits_per_byte", "source_perplexity", "alone_bits_per_byte", "stored_bytes", "time"),
    *("over_base", "over_base_low", "over_base_high", "over_knn", "over_knn_low", "over_knn_high"),
)


class Difference(NamedTuple):
    """Bits per byte of one system less those of another, and its 95 % interval over documents."""

    mean: float
    low: float
    high: float


def frame_of(scores: Sequence[Score]) -> pd.DataFrame:
    """A row per seed, system, split and document."""
    return pd.DataFrame(scores, columns=list(Score._fields))


def difference(documents: pd.DataFrame, system: str, other: str, *, split: str = "domain") -> Difference:
    """Compare two systems on the documents of a split.

    >>> rows = [(0, s, "domain", d, 10, 10, b, 0, 0, 0, 0, 0) for d in "abc" for s, b in (("x", 20.0), ("y", 25.0))]
    >>> difference(pd.DataFrame(rows, columns=list(Score._fields)), "x", "y")
    Difference(mean=-0.5, low=-0.5, high=-0.5)
    """
    own = documents[documents["split"] == split]
    bits = own.pivot_table(index=["seed", "document"], columns="system", values="bits", aggfunc="first")
    n_bytes = own.groupby(["seed", "document"])["n_bytes"].first().reindex(bits.index)
    told = pd.DataFrame({"apart": bits[system] - bits[other], "bytes": n_bytes}).groupby(level="document").sum()
    apart, size = told["apart"].to_numpy(np.float64), told["bytes"].to_numpy(np.float64)
    counts = np.random.default_rng(0).multinomial(len(told), np.full(len(told), 1 / len(told)), size=RESAMPLES)
    drawn = (counts @ apart) / (counts @ size)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(apart.sum() / size.sum()), float(low), float(high))


def tabulate(documents: pd.DataFrame) -> pd.DataFrame:
    """A row per system: means over seeds, bits of all documents together, and what it saves over two others."""
    rows: list[tuple[object, ...]] = []
    for system, own in documents.groupby("system", sort=False):
        name = str(system)
        totals = own.groupby("split")[["bits", "alone", "n_bytes", "n_tokens"]].sum(min_count=1)
        per = totals["bits"] / totals["n_bytes"]
        perplexity = np.exp2(totals["bits"] / totals["n_tokens"])
        alone = totals["alone"] / totals["n_bytes"]
        means = own.groupby("seed")[["share", "temperature", "stored", "time"]].first().mean()
        compared = [number for other in (BASE, KNN) for number in _over(documents, name, other)]
        rows.append(
            (
                *(name, own["seed"].nunique(), means["share"], means["temperature"]),
                *(per["domain"], perplexity["domain"], per["source"], perplexity["source"]),
                *(alone["domain"], cast("float", means["stored"]), means["time"], *compared),
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _over(documents: pd.DataFrame, system: str, other: str) -> Difference:
    if system == other:
        return Difference(float("nan"), float("nan"), float("nan"))
    return difference(documents, system, other)
