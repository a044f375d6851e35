"""Hidden states of known texts, and how far a new one is from them.

Two distances: to the nearest neighbours, which sees local crowding, and to the whole cloud as a Gaussian, which sees
directions in which it hardly spreads. A state is never its own neighbour: whatever comes from the same document is left
out by the document's id, not by rank, because duplicate keys make rank 0 somebody else's.

Candidates come from float32 search over keys less their mean, which keeps the digits that a large common offset would
cost; the distances that are returned are computed again in float64, and ties are broken by id. Up to
:data:`EXACT_BELOW` keys the search is exhaustive, one matrix product and a selection by torch (of 200,000 keys of width
96, in about half the time of faiss's own exhaustive search); above, faiss's IVF-PQ proposes and the float64 distances
decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from probes.errors import InputError
from probes.extras import extra

EXACT_BELOW: Final = 1_000_000
QUERIES_AT_A_TIME: Final = 1024  # all keys are read once per so many
KEYS_AT_A_TIME: Final = 1 << 14  # distances of so many to all of those queries are 64 MB
RANKED_AT_A_TIME: Final = 1 << 22  # coordinates of candidates in float64: 32 MB
SPARE: Final = 8  # candidates beyond k: float32 may rank near ties otherwise
PROPOSED: Final = 8  # candidates per neighbour that IVF-PQ proposes
PROBES: Final = 32
RECALLED: Final = 256  # keys that recall is measured on
CROWD: Final = 32  # keys of its own document that a query is first expected to find among its nearest
WIDER: Final = 4  # how many times more candidates a query gets that was left with too few


class Neighbours(NamedTuple):
    """The nearest keys of each query, nearest first.

    Attributes:
        distance: Euclidean; ``inf`` where there are fewer keys than asked for.
        key: row of the datastore; -1 likewise.
    """

    distance: Float64[np.ndarray, "queries k"]
    key: Int64[np.ndarray, "queries k"]


@dataclass(frozen=True, eq=False)
class Datastore:
    """Keys to be near to. Make one with :meth:`build`.

    Attributes:
        keys: states less their mean.
        mean: what was taken off.
        documents: ids of the documents that the keys come from.
        document: which of them each key comes from.
        exact: whether the search is exhaustive.
    """

    keys: Float32[np.ndarray, "keys width"]
    mean: Float64[np.ndarray, " width"]
    documents: tuple[str, ...]
    document: Int64[np.ndarray, " keys"]
    exact: bool
    _search: Any

    @classmethod
    def build(
        cls, states: Float[np.ndarray, "keys width"], documents: Sequence[str], *, exact_below: int = EXACT_BELOW
    ) -> Datastore:
        """Remember states.

        Args:
            states: one row per key.
            documents: the document of each.
            exact_below: search exhaustively among fewer keys than this.

        Raises:
            InputError: if there are no keys, a state is not finite, or there are a million or more and no faiss.
        """
        if not len(states) or len(states) != len(documents):
            raise InputError(f"a datastore needs one document per state, got {len(documents)} for {len(states)} states")
        if not np.isfinite(states).all():
            raise InputError("a datastore needs finite states; leave out those that are not")
        mean = states.mean(axis=0, dtype=np.float64)
        keys = (states - mean).astype(np.float32)
        names = tuple(dict.fromkeys(documents))
        number = {name: index for index, name in enumerate(names)}
        document = np.array([number[name] for name in documents], dtype=np.int64)
        return cls.of_keys(keys, mean, names, document, exact_below=exact_below)

    @classmethod
    def of_keys(
        cls,
        keys: Float32[np.ndarray, "keys width"],
        mean: Float64[np.ndarray, " width"],
        documents: tuple[str, ...],
        document: Int64[np.ndarray, " keys"],
        *,
        exact_below: int = EXACT_BELOW,
    ) -> Datastore:
        """Open what another datastore held: the same fields give the same answers."""
        return cls(keys, mean, documents, document, len(keys) < exact_below, _searcher(keys, exact_below))

    def nearest(
        self,
        states: Float[np.ndarray, "queries width"],
        k: int,
        *,
        without: Sequence[str | tuple[str, ...]] | None = None,
        itself: Int64[np.ndarray, " queries"] | None = None,
    ) -> Neighbours:
        """Find the nearest keys.

        Args:
            states: queries.
            k: neighbours of each.
            without: the document of each query, or several, whose keys are nobody's neighbours here; None leaves
                nothing out.
            itself: the key that each query is, which is not its own neighbour; -1, or None: none.

        Raises:
            InputError: if ``k`` is not positive, or the queries are of another width or not finite.
        """
        if k < 1:
            raise InputError(f"a nearest neighbour is the first or a later one, got k = {k}")
        if states.shape[-1] != self.keys.shape[1] or not np.isfinite(states).all():
            raise InputError(
                f"queries of this datastore are finite states of width {self.keys.shape[1]}, got width "
                f"{states.shape[-1]}{'' if np.isfinite(states).all() else ' and states that are not finite'}"
            )
        number = {name: index for index, name in enumerate(self.documents)}
        names = [()] * len(states) if without is None else [(n,) if isinstance(n, str) else n for n in without]
        sets = {own: index for index, own in enumerate(dict.fromkeys(names))}
        gone = np.zeros((len(sets), len(self.documents)), dtype=bool)
        for own, index in sets.items():
            gone[index, [number[name] for name in own if name in number]] = True
        own = np.array([sets[own] for own in names], dtype=np.int64)
        keys = np.full(len(states), -1, dtype=np.int64) if itself is None else itself
        found = Neighbours(np.full((len(states), k), np.inf), np.full((len(states), k), -1, dtype=np.int64))
        for start in range(0, len(states), QUERIES_AT_A_TIME):
            rows = np.arange(start, min(start + QUERIES_AT_A_TIME, len(states)))
            self._search_block(states, rows, _LeftOut(gone, own, keys), found)
        return found

    def recall(self, k: int, *, queries: int = RECALLED) -> float:
        """Share of the true k nearest keys that the search finds, of some of the keys themselves.

        Args:
            k: neighbours of each.
            queries: how many keys are asked, evenly spaced.

        Returns:
            1 for an exhaustive search and where nothing is missed, 0 where everything is.
        """
        if self.exact:
            return 1.0
        own = np.unique(np.linspace(0, len(self.keys) - 1, min(queries, len(self.keys))).astype(np.int64))
        states = self.keys[own] + self.mean
        whole = Datastore.of_keys(
            self.keys, self.mean, self.documents, self.document, exact_below=len(self.keys) + 1
        ).nearest(states, k, itself=own)
        found = self.nearest(states, k, itself=own)
        hits = (whole.key[:, :, None] == found.key[:, None, :]).any(axis=2) & (whole.key >= 0)
        return float(hits.sum() / (whole.key >= 0).sum())

    def _search_block(
        self,
        states: Float[np.ndarray, "queries width"],
        rows: Int64[np.ndarray, " rows"],
        out: _LeftOut,
        into: Neighbours,
    ) -> None:
        """Neighbours of some queries; those whose own document crowds out the others are asked for more again."""
        k = into.distance.shape[1]
        sizes = np.bincount(self.document, minlength=len(self.documents))
        crowd = int((out.documents[np.unique(out.of[rows])] @ sizes).max(initial=0))
        first = (k if self.exact else PROPOSED * k) + SPARE + int((out.key[rows] >= 0).any())
        n, most = min(first + min(crowd, CROWD), len(self.keys)), min(first + crowd, len(self.keys))
        while len(rows):
            candidates = self._candidates((states[rows] - self.mean).astype(np.float32), n)
            left_out = out.documents[out.of[rows, None], self.document[candidates]]
            gone = (candidates < 0) | left_out | (candidates == out.key[rows, None])
            step = max(1, RANKED_AT_A_TIME // (n * states.shape[1]))
            for at in range(0, len(rows), step):
                few = rows[at : at + step]
                ranked = self._ranked(states[few], candidates[at : at + step], gone[at : at + step], k)
                into.distance[few], into.key[few] = ranked
            rows = rows[(~gone).sum(axis=1) < k + SPARE] if n < most else rows[:0]
            n = min(WIDER * n, most)

    def _candidates(self, queries: Float32[np.ndarray, "queries width"], n: int) -> Int64[np.ndarray, "queries n"]:
        if self._search is not None:
            _, keys = self._search.search(np.ascontiguousarray(queries), n)
            return np.asarray(keys, dtype=np.int64)
        asked, keys = torch.from_numpy(queries), torch.from_numpy(self.keys)
        near, best = torch.empty(len(asked), 0), torch.empty(len(asked), 0, dtype=torch.long)
        for start in range(0, len(keys), KEYS_AT_A_TIME):
            some = slice(start, start + KEYS_AT_A_TIME)
            distance = torch.addmm(self._squares[some], asked, keys[some].T, alpha=-2)
            own, at = distance.topk(min(n, distance.shape[1]), largest=False, sorted=False)
            near, best = torch.cat([near, own], dim=1), torch.cat([best, at + start], dim=1)
            if near.shape[1] > n:
                near, at = near.topk(n, largest=False, sorted=False)
                best = best.gather(1, at)
        return best.numpy()

    @cached_property
    def _squares(self) -> Tensor:
        """Squared lengths of the keys."""
        return torch.from_numpy(self.keys).square().sum(dim=1)

    def _ranked(
        self,
        states: Float[np.ndarray, "queries width"],
        candidates: Int64[np.ndarray, "queries n"],
        gone: Bool[np.ndarray, "queries n"],
        k: int,
    ) -> tuple[Float64[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
        """The k nearest of the candidates by float64 distance, ties by id."""
        k_here = min(k, candidates.shape[1])
        apart = self.keys[candidates].astype(np.float64) - (states - self.mean)[:, None, :]
        distance = np.sqrt(np.einsum("qnw,qnw->qn", apart, apart))
        distance[gone] = np.inf
        order = np.lexsort((candidates, distance), axis=1)[:, :k_here]
        near, keys = np.take_along_axis(distance, order, 1), np.take_along_axis(candidates, order, 1)
        keys = np.where(np.isinf(near), -1, keys)
        missing = ((0, 0), (0, k - k_here))
        return np.pad(near, missing, constant_values=np.inf), np.pad(keys, missing, constant_values=-1)


class _LeftOut(NamedTuple):
    """Keys that are no neighbour of each query: those of some documents, and one key.

    Attributes:
        documents: sets of documents, each as a row of truths.
        of: which of them belongs to each query.
        key: one key for each query; -1 for none.
    """

    documents: Bool[np.ndarray, "sets documents"]
    of: Int64[np.ndarray, " queries"]
    key: Int64[np.ndarray, " queries"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A cloud of states as a Gaussian with a shrunk covariance. Make one with :meth:`fit`.

    Attributes:
        mean: its centre.
        root: lower Cholesky factor of its covariance.
        shrinkage: how far the covariance was drawn towards a sphere: 0 not at all, 1 entirely.
    """

    mean: Float64[np.ndarray, " width"]
    root: Float64[np.ndarray, "width width"]
    shrinkage: float

    @classmethod
    def fit(cls, states: Float[np.ndarray, "keys width"]) -> Gaussian:
        """Fit mean and covariance; the covariance is shrunk as Ledoit & Wolf (2004, J. Multivariate Anal. 88) derive.

        Raises:
            InputError: if there are fewer than two states, or they are all the same.
        """
        if len(states) < 2 or not np.isfinite(states).all():
            raise InputError(f"a Gaussian needs at least two finite states, got {len(states)}")
        mean = states.mean(axis=0, dtype=np.float64)
        x = states - mean
        n, d = x.shape
        covariance = x.T @ x / n
        variance = float(np.trace(covariance)) / d
        if variance == 0:
            raise InputError("a Gaussian needs states that differ, and these are all the same")
        spread = float((covariance**2).sum()) - d * variance**2
        noise = (float((np.einsum("nd,nd->n", x, x) ** 2).sum()) / n - float((covariance**2).sum())) / n
        shrinkage = 1.0 if spread <= 0 else min(1.0, max(0.0, noise / spread))
        shrunk = (1 - shrinkage) * covariance + shrinkage * variance * np.eye(d)
        try:
            root = cast("Float64[np.ndarray, 'width width']", np.linalg.cholesky(shrunk))
        except np.linalg.LinAlgError:
            raise InputError(f"{n} states are too few for a Gaussian of width {d}; hand in more texts") from None
        return cls(mean, root, shrinkage)

    def distance(self, states: Float[np.ndarray, "queries width"]) -> Float64[np.ndarray, " queries"]:
        """Mahalanobis distance: 0 at the mean, about the root of the width for states of the cloud itself."""
        from scipy.linalg import solve_triangular  # noqa: PLC0415  slow to import

        apart = solve_triangular(self.root, (states - self.mean).T, lower=True, check_finite=False)
        return np.sqrt((apart**2).sum(axis=0))


def _searcher(keys: Float32[np.ndarray, "keys width"], exact_below: int) -> Any:  # noqa: ANN401  a faiss index
    """A faiss index over many keys; None for fewer, among which the search is exhaustive."""
    n, width = keys.shape
    if n < exact_below:
        return None
    faiss = extra("faiss")
    cells = max(1, int(math.sqrt(n)))
    codes = max(c for c in range(1, min(64, width) + 1) if width % c == 0)
    index = faiss.index_factory(width, f"IVF{cells},PQ{codes}x8np")  # np: no annealing for Hamming distances
    index.train(keys[:: max(1, n // (256 * cells))])
    index.nprobe = PROBES
    index.add(keys)
    return index
