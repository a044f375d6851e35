"""Sinks and rogue dimensions of each model: what raw sparsity and means over tokens may really be about.

One coordinate can hold most of the energy of every token, one token can be a hundred times as long as its neighbours.
The numbers are rows of the controls (``probes.controls.outliers``), one per suite and site; a sweep without them has no
section.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from analyses import figures
from analyses.data.panels import place
from analyses.data.runs import Run
from analyses.figures.depth import layer_of
from analyses.findings.formatting import number, short_model, shown
from analyses.findings.record import Mark, Plot
from analyses.reporting.pictures import Picture, Studio
from probes.vocabulary.names import RAW
from probes.vocabulary.sites import UNLAYERED

ENERGY: Final = "top_coordinate_energy"
HOYER: Final = "mean_hoyer"
FIRST: Final = "first_token_norm"
LARGEST: Final = "largest_token_norm"
MASSIVE: Final = "massive_tokens"
WITHOUT: Final = "without_top(1)"
ROGUE: Final = 0.5  # share of the energy from which on raw sparsity is mostly about one coordinate
LONG: Final = 5.0  # times the median, from which on a token counts as massive
STREAM: Final = ("resid_post", *UNLAYERED)
MOST_LINES: Final = 6
SHARE_CAPTION: Final = (
    "Share of the energy of all ordinary tokens (not massive; the first of a sequence left out) of the controls' items "
    "that the one largest coordinate holds, by layer; one line per suite. Dashed: one half."
)
HOYER_CAPTION: Final = (
    "Mean Hoyer of ordinary tokens (at most 16 of each item) as they are and without that coordinate, mean over suites."
)
LENGTH_CAPTION: Final = (
    "Length of the first and of the longest other token over the median of the prompt, mean over suites. Dashed: five "
    "times, from where on a token counts as massive."
)


class SiteRow(NamedTuple):
    """One site: means over suites.

    Attributes:
        site: with its layer.
        coordinate: the one with most energy, most often so over suites.
        energy: its share of the energy of ordinary tokens.
        raw: mean Hoyer of ordinary tokens.
        without: the same without that coordinate.
        first: length of the first token over the median length of its prompt.
        largest: the same of the longest other token.
        massive: share of tokens more than five times as long as the median.
    """

    site: str
    coordinate: int
    energy: float
    raw: float
    without: float
    first: float
    largest: float
    massive: float


class Outliers(NamedTuple):
    """The section of one model."""

    model: str
    sentences: list[str]
    pictures: list[Picture]
    rows: list[SiteRow]


def take_outliers(run: Run, studio: Studio) -> list[Outliers]:
    """A section per model whose sweep holds the controls; empty where none does."""
    rows = run.populations()
    if rows.empty or ENERGY not in set(rows["metric"].astype(str)):
        return []
    runs = run.runs()
    names = dict(zip(runs["run_id"].astype(str), runs["model"].astype(str), strict=True))
    suites = dict(zip(runs["run_id"].astype(str), runs["suite"].astype(str), strict=True))
    ids = rows["run_id"].astype(str)
    own = rows[rows["metric"].astype(str).isin([ENERGY, HOYER, FIRST, LARGEST, MASSIVE])]
    own = own.assign(model=ids.map(names), suite=ids.map(suites))
    own = own[own["group"].astype(str) == own["suite"]]
    found: list[Outliers] = []
    for model, of_model in own.groupby("model", sort=False):
        sites = _sites(of_model)
        if sites:
            key = f"outliers-{len(found) + 1}"
            stream = [site for site in sites if _in_stream(site.site)] or sites
            found.append(
                Outliers(short_model(str(model)), _sentences(stream), _pictures(key, of_model, stream, studio), sites)
            )
    return found


def _sites(rows: pd.DataFrame) -> list[SiteRow]:
    names = [place(str(site), int(layer)) for site, layer in zip(rows["site"], rows["layer"], strict=True)]
    found: list[SiteRow] = []
    ordered = rows.assign(place=names).sort_values("layer", kind="stable")
    for site, own in ordered.groupby("place", sort=False):
        top = own.loc[own["metric"].astype(str) == ENERGY, "unit"]
        found.append(
            SiteRow(
                str(site),
                int(top.mode().iloc[0]) if len(top) else -1,
                _mean(own, ENERGY),
                _mean(own, HOYER, RAW),
                _mean(own, HOYER, WITHOUT),
                _mean(own, FIRST),
                _mean(own, LARGEST),
                _mean(own, MASSIVE),
            )
        )
    return found


def _mean(rows: pd.DataFrame, metric: str, basis: str = RAW) -> float:
    own = rows.loc[(rows["metric"].astype(str) == metric) & (rows["basis"].astype(str) == basis), "value"]
    values = own.to_numpy(np.float64)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan


def _in_stream(name: str) -> bool:
    return (name.rpartition(".")[0] or name) in STREAM or name in UNLAYERED


def _sentences(rows: Sequence[SiteRow]) -> list[str]:
    said: list[str] = []
    top = max(rows, key=lambda row: np.nan_to_num(row.energy, nan=-1.0))
    rogue = [row for row in rows if row.energy >= ROGUE]
    if rogue:
        said.append(
            f"One coordinate holds half or more of the energy of ordinary tokens at {_listed(rogue)}, most at "
            f"{top.site} (coordinate {top.coordinate}, {top.energy:.0%}). Raw sparsity there is mostly about that "
            f"coordinate: mean Hoyer is {number(top.raw)} with it and {number(top.without)} without it."
        )
    elif math.isfinite(top.energy):
        said.append(
            f"No coordinate holds half of the energy of ordinary tokens at any site; the largest share is "
            f"{top.energy:.0%} (coordinate {top.coordinate} at {top.site})."
        )
    first = max(rows, key=lambda row: np.nan_to_num(row.first, nan=-1.0))
    other = max(rows, key=lambda row: np.nan_to_num(row.largest, nan=-1.0))
    if math.isfinite(first.first):
        sink = "is an attention sink in size" if first.first >= LONG else "is not massive"
        said.append(
            f"The first token {sink}: its state is up to {first.first:.3g} times as long as the median of its prompt "
            f"({first.site}). The longest other token reaches {other.largest:.3g} times ({other.site})."
        )
    massive = max(rows, key=lambda row: np.nan_to_num(row.massive, nan=-1.0))
    if math.isfinite(massive.massive):
        said.append(
            "Position mean leaves the first token of every sequence out. Other massive tokens stay in it and are "
            f"left out of typical: with the first they are up to {massive.massive:.1%} of tokens ({massive.site})."
        )
    return said


def _listed(rows: Sequence[SiteRow]) -> str:
    names = [row.site for row in rows]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} sites from {names[0]} to {names[-1]}"


def _pictures(key: str, rows: pd.DataFrame, sites: Sequence[SiteRow], studio: Studio) -> list[Picture]:
    if len(sites) < 2:
        return []
    wanted = {row.site for row in sites}
    marks: list[Mark] = []
    energy = rows[rows["metric"].astype(str) == ENERGY]
    for suite, own in list(energy.groupby("suite", sort=False))[:MOST_LINES]:
        at = sorted(zip(own["layer"], own["site"], own["value"], strict=True), key=lambda entry: int(entry[0]))
        named = [(place(str(site), int(layer)), float(value)) for layer, site, value in at]
        marks += [_mark(shown(str(suite)), site, value) for site, value in named if site in wanted]
    share = Plot("curve", "layer", "share of the energy in the top coordinate", tuple(marks), ROGUE)
    with_and_without = [_mark("as it is", row.site, row.raw) for row in sites]
    with_and_without += [_mark("without", row.site, row.without) for row in sites]
    hoyer = Plot("curve", "layer", "mean Hoyer of ordinary tokens (higher = sparser)", tuple(with_and_without))
    first = [_mark("first token", row.site, row.first) for row in sites]
    first += [_mark("longest other", row.site, row.largest) for row in sites]
    length = Plot("curve", "layer", "length over the median of the prompt", tuple(first), LONG)
    drawn = (("energy", share, SHARE_CAPTION), ("hoyer", hoyer, HOYER_CAPTION), ("tokens", length, LENGTH_CAPTION))
    return [
        studio.draw(f"{key}-{name}", partial(figures.curve, plot), label=caption, caption=caption)
        for name, plot, caption in drawn
        if any(math.isfinite(mark.value) for mark in plot.marks)
    ]


def _mark(series: str, site: str, value: float) -> Mark:
    layer = layer_of(site)
    return Mark(series, site, float(layer or 0), value, math.nan, math.nan)
