"""Filters of a reader, as people write them, and the refusal of a name that nothing could match.

A name is understood however a spec may spell it: ``resid_post.3`` is a site with its layer, ``top_k_energy(.10)`` is
``top_k_energy(0.1)``. A name that the sweep does not have is an error that suggests the nearest one it has; an empty
table means that nothing was measured there, never that a word was misspelt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa

from probes.errors import InputError
from probes.records.arrow import compute
from probes.records.cells import Block
from probes.records.schema import SCHEMAS
from probes.records.versions import in_words, newest, parted
from probes.vocabulary.names import BASES, GENERATED, RAW, SHUFFLED, TAILS, UNTRAINED
from sparsity import MetricSpec
from sparsity.registry import UnknownNameError

Wanted = str | Sequence[str] | None
Layers = int | Sequence[int] | None
GIVEN: Final = frozenset({"run_id", "example_id"})  # columns whose values come from the sweep itself, never from people

# Bases that a sweep may lack, because its spec asked for none or its controls had no time: no rows, never misspelt.
WRITTEN: Final = frozenset({RAW, *BASES, SHUFFLED, UNTRAINED, TAILS, GENERATED})


class Place(NamedTuple):
    """A site and its layer; no layer means every layer."""

    site: str
    layer: int | None = None

    def __str__(self) -> str:
        return self.site if self.layer is None else f"{self.site}.{self.layer}"


Known = Callable[[Sequence[str]], set[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows wanted: in each column one of some values, and one of some places.

    Attributes:
        values: accepted values by column; a column that is not named accepts all.
        places: sites as asked for, with their layers; empty where every site is accepted.
        versions: of metrics that the sweep holds in several versions, those that are accepted.
    """

    values: Mapping[str, Sequence[Any]]
    places: tuple[Place, ...] = ()
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def narrowed(self, rows: pa.Table) -> pa.Table:
        """Rows as `read_rows` gives them, less those whose site and layer were asked for, but not together."""
        if len({place.layer for place in self.places}) < 2:
            return rows
        kept = np.zeros(rows.num_rows, dtype=bool)
        for place in self.places:
            here: Any = compute.equal(rows.column("site"), place.site)
            if place.layer is not None:
                here = compute.and_(here, compute.equal(rows.column("layer"), place.layer))
            kept |= here.to_numpy(zero_copy_only=False) if isinstance(here, pa.Array) else here.to_numpy()
        mask: Any = pa.array(kept)
        return rows.filter(mask)

    def refuse_unmatched(self, found: pa.Table, known: Known, where: str) -> None:
        """Refuse a name that is nowhere in the sweep, and a layer that no site asked for has.

        Args:
            found: the rows that the filter left.
            known: gives the distinct rows of some columns of the table, whatever the filter.
            where: how messages call the table.

        Raises:
            InputError: with the nearest name.
        """
        for column, values in self.values.items():
            if column in GIVEN or column == "site" or (column == "layer" and self.places):
                continue
            seen = set(cast("Any", found.column(column)).unique().to_pylist())
            strange = [value for value in values if value not in seen]
            if column == "basis":
                strange = [value for value in strange if value not in WRITTEN]
            if strange:
                there = {row[0] for row in known([column])}
                _refuse_unknown(column, [value for value in strange if value not in there], there, where)
        if self.places:
            self._refuse_strange_places(found, known, where)

    def _refuse_strange_places(self, found: pa.Table, known: Known, where: str) -> None:
        pairs: Any = found.select(["site", "layer"]).group_by(["site", "layer"]).aggregate([])
        seen = set(zip(pairs.column("site").to_pylist(), pairs.column("layer").to_pylist(), strict=True))
        if all(_is_among(place, seen) for place in self.places) and found.num_rows:
            return
        there = {Place(str(site), layer) for site, layer in known(["site", "layer"])}
        names = {place.site for place in there} | set(map(str, there))
        strange = [str(place) for place in self.places if not _is_among(place, there)]
        _refuse_unknown("site", strange, names, where)
        layers = self.values.get("layer")
        if layers is not None and not any(_is_among(Place(p.site, at), there) for p in self.places for at in layers):
            sites = {place.site for place in self.places}
            has = "; ".join(f"{site} has {_span([at for own, at in there if own == site])}" for site in sorted(sites))
            raise InputError(f"{where} has nothing of {', '.join(sorted(sites))} at layer {_list(layers)}; {has}")


def understood(**wanted: Wanted | Layers) -> Filter:
    """Read what a caller wants of some columns; None accepts everything, an empty list nothing."""
    values: dict[str, Sequence[Any]] = {
        column: listed(given) for column, given in wanted.items() if given is not None and column != "site"
    }
    if "metric" in values:
        values["metric"] = [metric_name(text) for text in values["metric"]]
    if wanted.get("site") is None:
        return Filter(values)
    places = tuple(place_of(str(text)) for text in listed(cast("Any", wanted["site"])))
    values["site"] = list(dict.fromkeys(place.site for place in places))
    layers = {place.layer for place in places}
    if places and None not in layers:
        both = layers if "layer" not in values else layers & set(values["layer"])
        if not both:
            asked = f"{_list(map(str, places))} with layer={_list(values['layer'])}"
            raise InputError(f"{asked} asks for two layers at once; name the layer once")
        values["layer"] = sorted(cast("set[int]", both))
    return Filter(values, places)


def place_of(text: str) -> Place:
    """A site as a spec writes it.

    >>> place_of("resid_post.3"), place_of("encoder.resid_post")
    (Place(site='resid_post', layer=3), Place(site='encoder.resid_post', layer=None))
    """
    site, dot, layer = text.rpartition(".")
    return Place(site, int(layer)) if dot and layer.isdecimal() else Place(text)


def metric_name(text: str) -> str:
    """A metric as tables write it, without its version; a text that this toolkit cannot read stays as it is.

    >>> metric_name("top_k_energy(.10)"), metric_name("hoyer@2"), metric_name("of another toolkit")
    ('top_k_energy(0.1)', 'hoyer', 'of another toolkit')
    """
    name, _ = parted(text)
    try:
        return str(MetricSpec.parse(name))
    except (UnknownNameError, ValueError):
        return name


def versions_wanted(metric: Wanted, known: Mapping[str, frozenset[str]], where: str) -> dict[str, frozenset[str]]:
    """The versions that a caller accepts, of those metrics that a sweep holds in several.

    Args:
        metric: what is asked for, ``gini`` or ``gini@2``; None: everything.
        known: the versions that are recorded.
        where: how messages call the sweep.

    Raises:
        InputError: if a metric with several versions is asked for without one, or a version is not there.
    """
    asked: dict[str, set[str]] = {}
    for text in known if metric is None else listed(metric):
        name, version = metric_name(str(text)), parted(str(text))[1]
        there = known.get(name, frozenset())
        if version and there and version not in there:
            raise InputError(f"{where} holds {name} in version {in_words(there)}, not {version}")
        if not version and len(there) > 1:
            raise InputError(
                f"{where} holds {name} in versions {in_words(there)}, which are different measures; "
                f"ask for one of them, metric={name + '@' + newest(there)!r}"
            )
        asked.setdefault(name, set()).add(version)
    return {name: frozenset(found) for name, found in asked.items() if len(known.get(name, ())) > 1}


def of_metrics(columns: Sequence[str], metric: Wanted, where: str) -> list[str]:
    """Of the columns of ``token_measurements`` those of some metrics, and those that say where a row is.

    Raises:
        InputError: if a metric has no column, with the nearest name.
    """
    keys = SCHEMAS["token_measurements"].names
    wanted = [metric_name(str(text)) for text in listed(metric or ())]
    refuse_unknown_names("metric", wanted, {parted(name)[0] for name in columns if name not in keys}, where)
    return [name for name in columns if name in keys or parted(name)[0] in wanted]


def owed(block: Block, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The distinct rows of some columns that a block stands for, as far as it names them."""
    match list(columns):
        case ["metric"]:
            yield from ((metric.rpartition("@")[0],) for metric in block.metrics)
        case ["position"]:
            yield from ((position,) for position in block.positions)
        case ["site", "layer"]:
            yield from map(place_of, block.sites)
        case _:
            return


def listed(values: str | int | Sequence[str] | Sequence[int]) -> list[Any]:
    """One value or several, as a list; a character that no table can hold becomes ``?``, which names nothing there."""
    several: list[Any] = [values] if isinstance(values, str | Integral) else list(cast("Sequence[Any]", values))
    return [one.encode("utf-8", "replace").decode() if isinstance(one, str) else int(one) for one in several]


def refuse_unknown_names(kind: str, wanted: Wanted, there: Iterable[str], where: str) -> None:
    """Refuse a name that is not among those there.

    Raises:
        InputError: with the nearest name.
    """
    names = set(there)
    _refuse_unknown(kind, [name for name in listed(wanted or []) if name not in names], names, where)


def _refuse_unknown(kind: str, strange: Sequence[Any], there: Iterable[Any], where: str) -> None:
    if not strange:
        return
    if kind == "layer":
        raise InputError(f"{where} has no layer {strange[0]}; it has {_span(list(there))}")
    raise InputError(f"{where}: {UnknownNameError(kind, str(strange[0]), sorted(map(str, there)))}")


def _is_among(place: Place, there: Iterable[tuple[Any, ...]]) -> bool:
    return any(site == place.site and place.layer in (None, layer) for site, layer in there)


def _list(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _span(layers: Sequence[Any]) -> str:
    numbers = sorted({int(layer) for layer in layers if layer is not None})
    if not numbers:
        return "none"
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"layers {numbers[0]} to {numbers[-1]}"
    return f"layer{'s' if len(numbers) > 1 else ''} {_list(numbers)}"
