"""Metrics computed inside the hook: what a forward pass leaves behind is a few floats per asked vector.

Rows are chosen first (by position and mask, so padding never reaches a metric), raised to float32 a thousand at a time
(the sort then stays in cache, and memory grows by a few megabytes instead of by the stored states), and reduced at
once. On a GPU the reduced values stay there until the pass ends: hooks never wait for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from probes.models.taps import Taps
from probes.vocabulary.massive_tokens import massive
from probes.vocabulary.positions import Selector
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site
from sparsity import MetricSpec, parse_metrics, profile

ROWS_AT_A_TIME: Final = 1024
LENGTH: Final = parse_metrics("l2_norm")


@dataclass(frozen=True, slots=True)
class Basis:
    """The coordinates in which vectors are measured.

    Attributes:
        name: as the ``basis`` column holds it.
        transform: from a site and float32 vectors ``(rows, width)`` to vectors ``(rows, any)`` in the new coordinates,
            e.g.
            a sparse autoencoder's encoder; None leaves them as they are.
    """

    name: str
    transform: Callable[[Site, Tensor], Tensor] | None = None


RAW: Final = Basis("raw")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Metric values of one batch at one place.

    Attributes:
        site: where in the network.
        position: which tokens, by the selector's name.
        unit: head index, -1 for the whole vector.
        basis: coordinates.
        item: index into the prompts of the batch.
        token: index in the prompt's ids, -1 for a mean.
        values: one column per metric, in the order asked.
        n_undefined: vectors behind each value for which the metric is undefined, and at position ``typical`` massive
            ones; a mean leaves them out, and is itself NaN (and counted once) where no vector is left.
    """

    site: Site
    position: str
    unit: int
    basis: str
    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    values: Float32[np.ndarray, "rows metrics"]
    n_undefined: Int32[np.ndarray, "rows metrics"]


class Pick(NamedTuple):
    """The vectors that one selector picked.

    Attributes:
        selector: which.
        item: index into the prompts of the batch.
        token: index in the prompt's ids.
        at: index into the rows that all selectors share.
    """

    selector: Selector
    item: Int32[np.ndarray, " n"]
    token: Int32[np.ndarray, " n"]
    at: Int64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """The tokens that a batch is asked about, all positions together.

    Attributes:
        rows: flat indices into ``(prompts * longest)``, ascending, each once.
        own: the same per selector.
    """

    rows: Int64[np.ndarray, " rows"]
    own: tuple[Pick, ...]

    @classmethod
    def of(cls, prompts: Sequence[Prompt], positions: Sequence[Selector]) -> Picks:
        """Pick the tokens of every prompt under every selector."""
        longest = max(len(prompt.ids) for prompt in prompts)
        picked: list[tuple[Selector, Any, Any]] = []
        for selector in positions:
            tokens = [np.asarray(selector.pick(prompt), dtype=np.int32) for prompt in prompts]
            item = np.repeat(np.arange(len(prompts), dtype=np.int32), [len(own) for own in tokens])
            picked.append((selector, item, np.concatenate(tokens)))
        flat = [item.astype(np.int64) * longest + token for _, item, token in picked]
        rows = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *flat]))
        own = zip(picked, flat, strict=True)
        return cls(rows, tuple(Pick(s, item, token, np.searchsorted(rows, at)) for (s, item, token), at in own))


Values = Float32[np.ndarray, "rows units metrics"]


class Profiler:
    """Reduces the vectors that hooks show; the state of one forward pass.

    Room for every value is made before the pass. Small arrays made during it would outlive the activations around them
    and keep the heap from using that memory again: four components of 16 x 512 tokens then peaked at 3.6 times the bare
    pass.
    """

    def __init__(
        self,
        taps: Taps,
        picks: Picks,
        metrics: Sequence[MetricSpec],
        bases: Sequence[Basis],
        prompts: int,
        sites: Sequence[Site],
    ) -> None:
        self._taps = taps
        self._picks = picks
        self._metrics = tuple(metrics)
        self._bases = tuple(bases)
        self._prompts = prompts
        self._sites = tuple(sites)
        self._rows: dict[torch.device, Tensor] = {}
        units = {site: max(taps.points[site].heads, 1) for site in self._sites}
        self._values: dict[tuple[Site, Basis], Values] = {
            (site, basis): np.empty((len(picks.rows), units[site], len(self._metrics)), dtype=np.float32)
            for site, basis in product(self._sites, self._bases)
        }
        typical = any(pick.selector.typical for pick in picks.own)
        self._lengths: dict[Site, Values] = {
            site: np.empty((len(picks.rows), units[site], 1), dtype=np.float32) for site in self._sites if typical
        }
        self._waiting: list[tuple[Values, Tensor]] = []

    def look(self, site: Site, vectors: Tensor) -> None:
        """Reduce the picked vectors of one site; called inside the forward pass."""
        rows = self._rows.get(vectors.device)
        if rows is None:
            rows = self._rows[vectors.device] = torch.from_numpy(self._picks.rows).to(vectors.device)
        everything = len(rows) == len(vectors)  # then a view will do: copying a chunk costs a tenth of reducing it
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            part = slice(start, start + ROWS_AT_A_TIME)
            chunk = vectors[part] if everything else vectors.index_select(0, rows[part])
            heads = self._taps.points[site].heads
            chunk = chunk.reshape(len(chunk) * max(heads, 1), -1)
            for basis in self._bases:
                there = chunk if basis.transform is None else basis.transform(site, chunk.float())
                self._reduce(there, self._metrics, self._values[site, basis][part])
            if self._lengths:
                self._reduce(chunk, LENGTH, self._lengths[site][part])

    def _reduce(self, vectors: Tensor, metrics: Sequence[MetricSpec], values: Values) -> None:
        """Fill in the values of one chunk; on a GPU they stay there until the pass is over."""
        found = profile(vectors.detach(), metrics=metrics, threads=torch.get_num_threads())
        columns = [torch.as_tensor(found[str(metric)]) for metric in metrics]
        if vectors.device.type == "cpu":
            for index, column in enumerate(columns):
                values[..., index] = column.numpy().reshape(values.shape[:2])
        else:
            self._waiting.append((values, torch.stack(columns, dim=-1).float()))

    def readings(self) -> tuple[Reading, ...]:
        """Everything reduced, in the order of the sites asked, once the pass is over."""
        for values, device_values in self._waiting:
            values[...] = device_values.cpu().numpy().reshape(values.shape)
        self._waiting.clear()
        found: list[Reading] = []
        for site, basis in product(self._sites, self._bases):
            table = self._values[site, basis]
            for selector, item, token, at in self._picks.own:
                for head in range(table.shape[1]):
                    unit = head if self._taps.points[site].heads else -1
                    values = table[at, head]
                    place = (site, selector.name, unit, basis.name)
                    if selector.typical:
                        values[massive(self._lengths[site][at, head, 0], item)] = np.nan
                    if selector.each:
                        found.append(Reading(*place, item, token, values, np.isnan(values).astype(np.int32)))
                    else:
                        found.append(Reading(*place, *_means(values, item, self._prompts)))
        return tuple(found)


def _means(
    values: Float32[np.ndarray, "n metrics"], item: Int32[np.ndarray, " n"], prompts: int
) -> tuple[
    Int32[np.ndarray, " prompts"],
    Int32[np.ndarray, " prompts"],
    Float32[np.ndarray, "prompts metrics"],
    Int32[np.ndarray, "prompts metrics"],
]:
    """Mean of the defined values of each prompt, and how many were left out."""
    defined = ~np.isnan(values)
    total, count, picked = (np.zeros((prompts, values.shape[1])) for _ in range(3))
    np.add.at(total, item, np.where(defined, values, 0).astype(np.float64))
    np.add.at(count, item, defined)
    np.add.at(picked, item, 1)
    means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    undefined = np.where(picked > 0, picked - count, 1)
    return (
        np.arange(prompts, dtype=np.int32),
        np.full(prompts, -1, dtype=np.int32),
        means.astype(np.float32),
        undefined.astype(np.int32),
    )
