"""The states of the reservoir's items: kept while they are measured, read once more where that could not be.

They lie in a temporary file without a name, at most :data:`TOKENS` tokens of an item, and one site at a time comes to
memory. A pass that measures items of the reservoir shows their states anyway, so they are kept there and then. Where
no such pass was watched (worker processes, a sweep that was resumed, an accelerator, whose hooks must not wait), the
same batches go through the model again: what is kept is the same to the bit either way.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int32
from torch import Tensor

from probes.capture.batches import Failed, Room, plan_batches
from probes.capture.prompts import pad
from probes.capture.reading import Picks
from probes.controls.control_cells import OF_UNITS, final_of, last_of
from probes.models.hooks import CaptureError, watching
from probes.models.loading import LoadedModel
from probes.vocabulary.massive_tokens import massive
from probes.vocabulary.names import Control
from probes.vocabulary.positions import SELECTORS, Selector
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site

TOKENS: Final = 16
MOST_BYTES: Final = 1 << 30  # of states in the file; fewer tokens of each item are kept rather than more bytes
ROWS_AT_ONCE: Final = 256  # promoted together


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The states of the reservoir at one site and position.

    Attributes:
        site: where.
        position: ``last`` or ``mean``.
        item: index of the item in the reservoir.
        token: index of the token in the item's ids.
        vectors: one row per token kept.
    """

    site: Site
    position: str
    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    vectors: Float32[np.ndarray, "rows width"]


class Energy(NamedTuple):
    """The energy of all ordinary tokens at a site: those of position ``mean`` that are finite and not massive.

    Attributes:
        total: sum of squares of each coordinate.
        n: how many tokens.
    """

    total: Float64[np.ndarray, " width"]
    n: int


class Wanted(NamedTuple):
    """Request for states to keep.

    Attributes:
        sites: where; of one with heads, all heads side by side.
        positions: ``last``, ``mean`` or both.
        n_tokens: at most so many of an item at ``mean``.
        row_bytes: what the states of one token take, all sites together.
    """

    sites: tuple[Site, ...]
    positions: tuple[str, ...]
    n_tokens: int
    row_bytes: int

    def n_bytes(self, n_items: int) -> int:
        """The most that the states of so many items take, with the energies, which are float64."""
        tokens = sum(self.n_tokens if position == "mean" else 1 for position in self.positions)
        return n_items * self.row_bytes * (tokens + 2)


def wanted_states(
    model: LoadedModel,
    sites: Sequence[Site],
    positions: Sequence[str],
    n_items: int,
    controls: Sequence[Control] = (),
) -> Wanted:
    """States that the controls of some sites need; the readout adds the end of the stream, outliers add ``mean``.

    Of a site with heads all heads side by side, where a control looks at heads.
    """
    heads = {site: model.taps.points[site].heads for site in sites}
    whole = [site for site in sites if not heads[site] or OF_UNITS.intersection(controls)]
    ends = [site for site in (final_of(model), last_of(model)) if site in model.sites]
    extra = ends if {"readout", "pinning"}.intersection(controls) else []
    ordinary = ["mean"] if "outliers" in controls else []
    every = tuple(dict.fromkeys([*whole, *extra]))
    row_bytes = 4 * sum(model.width(site) * max(heads.get(site, 0), 1) for site in every)
    kept = tuple(dict.fromkeys([*positions, *ordinary]))
    return Wanted(every, kept, tokens_kept(n_items, row_bytes), row_bytes)


def tokens_kept(n_items: int, row_bytes: int) -> int:
    """The most tokens of an item that are kept at ``mean``: fewer where the states of one token take much.

    >>> tokens_kept(10, 256), tokens_kept(1 << 20, 256), tokens_kept(1 << 30, 256)
    (16, 4, 1)
    """
    return int(np.clip(MOST_BYTES // max(1, n_items * row_bytes), 1, TOKENS))


def selectors(positions: Sequence[str], n_tokens: int) -> tuple[Selector, ...]:
    """The tokens that are kept: the last one, and at most so many evenly spaced ones for ``mean``."""

    def spaced(prompt: Prompt) -> Sequence[int]:
        content = prompt.content
        at = np.unique(np.linspace(0, len(content) - 1, n_tokens).round().astype(int)) if len(content) else ()
        return [content[int(index)] for index in at]

    own = {"last": SELECTORS["last"], "mean": Selector("mean", spaced)}
    return tuple(own[position] for position in positions)


class _Part(NamedTuple):
    """Numbers of one pass in the file: whose they are, and where they begin."""

    item: Int32[np.ndarray, " rows"]
    token: Int32[np.ndarray, " rows"]
    start: int
    width: int


class States:
    """The reservoir's states, in a temporary file without a name; a site and position at a time comes to memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sparsity-states-", buffering=0)  # noqa: SIM115  closed by its reader
        self._closed = weakref.finalize(self, self._file.close)
        self._parts: dict[tuple[Site, str], list[_Part]] = {}
        self._energies: dict[Site, list[_Part]] = {}
        self._lengths: dict[Site, dict[int, np.ndarray]] = {}
        self._items: set[int] = set()
        self._end = 0

    def __contains__(self, place: tuple[Site, str]) -> bool:
        return place in self._parts

    @property
    def items(self) -> frozenset[int]:
        """The items whose states are here."""
        return frozenset(self._items)

    def write(
        self,
        numbers: Float[np.ndarray, "rows width"],
        item: Int32[np.ndarray, " rows"],
        token: Int32[np.ndarray, " rows"],
    ) -> _Part:
        """Put numbers into the file; they count once a finished pass adds them."""
        part = _Part(item, token, self._end, numbers.shape[1])
        self._file.seek(self._end)
        np.ascontiguousarray(numbers).tofile(self._file)
        self._end += numbers.nbytes
        return part

    def add(
        self,
        vectors: dict[tuple[Site, str], _Part],
        energies: dict[Site, _Part],
        lengths: dict[Site, dict[int, np.ndarray]],
    ) -> None:
        """Count what one pass wrote, of items that were not here before.

        Args:
            vectors: by site and position.
            energies: by site, one float64 row per item; the token column holds how many tokens are in it.
            lengths: by site and item, of all tokens of the prompt.
        """
        for place, part in vectors.items():
            self._parts.setdefault(place, []).append(part)
        for site, part in energies.items():
            self._energies.setdefault(site, []).append(part)
        for site, own in lengths.items():
            self._lengths.setdefault(site, {}).update(own)
            self._items.update(own)

    def renumber(self, new: Sequence[int]) -> None:
        """Call items by other numbers: item i becomes ``new[i]``, and is gone where that is -1."""
        at = np.array(new, dtype=np.int32)
        for parts in (*self._parts.values(), *self._energies.values()):
            parts[:] = [part._replace(item=at[part.item]) for part in parts]
        for site, own in self._lengths.items():
            self._lengths[site] = {int(at[item]): found for item, found in own.items() if at[item] >= 0}
        self._items = {int(at[item]) for item in self._items if at[item] >= 0}

    def sample(self, site: Site, position: str) -> Sample:
        """The states of one site and position, items in the order of the reservoir."""
        item, token, vectors = self._read(self._parts[site, position], np.float32)
        return Sample(site, position, item, token, vectors)

    def energy(self, site: Site) -> Energy:
        """The energy of all ordinary tokens at a site, added up item by item in the order of the reservoir."""
        _, count, energies = self._read(self._energies[site], np.float64)
        return Energy(np.add.reduce(energies, axis=0), int(count.sum()))

    def lengths(self, site: Site) -> list[Float32[np.ndarray, " tokens"]]:
        """Lengths of the states of all prompt tokens at a site, item by item in the order of the reservoir."""
        kept = self._lengths[site]
        return [kept[item] for item in sorted(kept)]

    def close(self) -> None:
        """Let the file go."""
        self._closed()

    def _read(self, parts: Sequence[_Part], dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items, tokens and numbers, in the order of items and tokens; a row at a time goes where it belongs."""
        item, token = (np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "token"))
        order = np.lexsort((token, item))
        order = order[item[order] >= 0]
        place = np.full(len(item), -1)
        place[order] = np.arange(len(order))
        numbers = np.empty((len(order), parts[0].width), dtype=dtype)
        done = 0
        for part in parts:
            self._file.seek(part.start)
            n = len(part.item)
            read = np.fromfile(self._file, dtype=dtype, count=n * part.width).reshape(n, part.width)
            there = place[done : done + n]
            numbers[there[there >= 0]] = read[there >= 0]
            done += n
        return item[order], token[order], numbers


class Keeper:
    """Keeps what hooks show of the reservoir's items in one forward pass; it counts once :meth:`done` is called."""

    def __init__(
        self,
        states: States,
        wanted: Wanted,
        prompts: Sequence[Prompt],
        own: Sequence[int],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Ready for one pass.

        Args:
            states: what is added to.
            wanted: which states.
            prompts: of the pass, all of the reservoir.
            own: which item of the reservoir each of them is.
            pause: called at every site of the pass; may raise to break off.
        """
        self.sites = wanted.sites
        self._states, self._prompts, self._pause = states, prompts, pause
        self._own = np.array(own, dtype=np.int32)
        self._picks = Picks.of(prompts, selectors(wanted.positions, wanted.n_tokens))
        longest = max(len(prompt.ids) for prompt in prompts)
        ends = [prompt.end for prompt in prompts]
        begins = np.cumsum([0, *ends[:-1]])
        content = [np.asarray(prompt.content, dtype=np.int64) for prompt in prompts]
        self._item = np.repeat(np.arange(len(prompts)), ends)
        self._every = np.concatenate([at * longest + np.arange(end) for at, end in enumerate(ends)])
        self._content = np.concatenate([begin + at for begin, at in zip(begins, content, strict=True)])
        self._vectors: dict[tuple[Site, str], _Part] = {}
        self._energies: dict[Site, _Part] = {}
        self._lengths: dict[Site, dict[int, np.ndarray]] = {}

    def look(self, site: Site, vectors: Tensor) -> None:
        """Keep what is asked of one site; called inside the forward pass."""
        self._pause()
        shown = vectors.index_select(0, torch.from_numpy(self._picks.rows).to(vectors.device)).float().cpu().numpy()
        for selector, item, token, at in self._picks.own:
            part = self._states.write(shown[at], self._own[item], token)
            self._vectors[site, selector.name] = part
        lengths = _lengths_of(vectors).cpu().numpy()[self._every]
        cuts = np.cumsum([prompt.end for prompt in self._prompts])[:-1]
        self._lengths[site] = dict(zip(self._own.tolist(), np.split(lengths, cuts), strict=True))
        ordinary = self._content[(np.isfinite(lengths) & ~massive(lengths, self._item))[self._content]]
        energies = _energies_of(vectors, self._every[ordinary], self._item[ordinary], len(self._prompts))
        count = np.bincount(self._item[ordinary], minlength=len(self._prompts)).astype(np.int32)
        self._energies[site] = self._states.write(energies.cpu().numpy(), self._own, count)

    def done(self) -> None:
        """Count what was kept, after the pass has come to its end."""
        self._states.add(self._vectors, self._energies, self._lengths)


@contextmanager
def read_states_of(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    wanted: Wanted,
    *,
    batches: Sequence[Sequence[int]] = (),
    states: States | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Generator[States]:
    """Run what is missing of the reservoir once and keep its states for as long as the block lasts.

    Args:
        model: what to run.
        prompts: of the reservoir, in its order.
        wanted: which states.
        batches: which items go through the model together; none: as many as a pass takes.
        states: what was kept while the items were measured; it is closed after the block.
        pause: called at every site of a pass; may raise to break off.

    Raises:
        CaptureError: if even one prompt alone does not fit into memory.
    """
    kept = States() if states is None else states

    def read(own: Sequence[int]) -> None:
        some = [prompts[index] for index in own]
        keeper, batch = Keeper(kept, wanted, some, own, pause), pad(some, model.pad_id)
        with watching(model.taps, wanted.sites, keeper.look, rows=batch.ids.numel()):
            model.run(batch)
        keeper.done()

    room = Room()
    try:
        for planned in batches or plan_batches([len(prompt.ids) for prompt in prompts]):
            if kept.items.issuperset(planned):
                continue
            for own, found in room.run(planned, read):
                if isinstance(found, Failed):
                    raise CaptureError(
                        f"out of memory on one prompt of {len(prompts[own[0]].ids)} tokens; set max_tokens"
                    )
        yield kept
    finally:
        kept.close()


def _lengths_of(vectors: Tensor) -> Tensor:
    """Euclidean length of each row, in float32; parts of the rows at a time, for halves are promoted first."""
    starts = range(0, len(vectors), ROWS_AT_ONCE)
    return torch.cat([vectors[at : at + ROWS_AT_ONCE].float().square().sum(-1).sqrt() for at in starts])


def _energies_of(vectors: Tensor, rows: np.ndarray, item: np.ndarray, n_items: int) -> Tensor:
    """Sum of squares of each coordinate over some rows, item by item, in float64."""
    total = torch.zeros((n_items, vectors.shape[-1]), dtype=torch.float64, device=vectors.device)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part, of = (torch.from_numpy(own[start : start + ROWS_AT_ONCE]).to(vectors.device) for own in (rows, item))
        total.index_add_(0, of, vectors.index_select(0, part).double().square_())
    return total


def per_item(
    values: Float[np.ndarray, "rows numbers"], item: Int32[np.ndarray, " rows"]
) -> tuple[Int32[np.ndarray, " items"], Float64[np.ndarray, "items numbers"]]:
    """The items that occur, and the mean of the defined values of each; NaN where none is.

    >>> per_item(np.array([[1.0], [3.0], [np.nan]]), np.array([0, 0, 4], dtype=np.int32))
    (array([0, 4], dtype=int32), array([[ 2.], [nan]]))
    """
    items, index = np.unique(item, return_inverse=True)
    total, count = np.zeros((2, len(items), values.shape[1]))
    defined = ~np.isnan(values)
    np.add.at(total, index, np.where(defined, values, 0).astype(np.float64))
    np.add.at(count, index, defined)
    return items, np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
