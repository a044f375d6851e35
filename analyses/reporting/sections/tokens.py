"""Single items, token by token: the text with each token shaded by its measure, and the same through the layers.

Only sweeps with position ``all`` hold a value per token. One item per level is shown, the first measured one, so that
nothing is picked by what it looks like; in-distribution items first, then by level. Where the sweep asked for the
familiarity of tokens, it stands above them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from analyses import figures
from analyses.data.panels import WHOLE, place
from analyses.data.runs import Run
from analyses.findings.formatting import number, short_model
from analyses.findings.null import chance, sparser
from analyses.findings.panel import PRIMARY_METRIC
from analyses.reporting.pictures import Picture, Studio
from probes.vocabulary.names import GENERATED, RAW

KEYS: Final = frozenset({"run_id", "example_id", "site", "layer", "unit", "basis", "token"})
MOST_ITEMS: Final = 8
MOST_TOKENS: Final = 160
SURPRISAL: Final = "surprisal"
LONGEST_TOKEN: Final = 60  # characters of one token; a word of a hundred thousand letters is cut like any other
WORD: Final = re.compile(r"\s*\S*")
FULL: Final = 0.55  # opacity of the strongest shade, under which text still reads


class Token(NamedTuple):
    """One token on the page.

    Attributes:
        text: its characters; empty for a token without text (the start of a sequence).
        said: its index and its numbers.
        shade: opacity of its background.
        side: ``sparser`` or ``denser`` than chance (than the middle of the items shown, where the measure has no null).
    """

    text: str
    said: str
    shade: float
    side: str


class ItemView(NamedTuple):
    """One item.

    Attributes:
        example_id: which.
        label: its level or domain.
        model: which model read it.
        place: where its tokens were read for the shading.
        metric: the measure.
        tokens: the text.
        cut: tokens left out at the end.
        picture: tokens x layers.
    """

    example_id: str
    label: str
    model: str
    place: str
    metric: str
    tokens: list[Token]
    cut: int
    picture: Picture


def token_views(run: Run, studio: Studio) -> list[ItemView]:
    """The first item of each level of each run with token rows; empty where there are none."""
    rows = run.token_measurements()
    inputs = run.inputs()
    if rows.empty or "char_starts" not in inputs:
        return []
    rows = rows[(rows["unit"] == WHOLE) & (rows["basis"] == RAW)]
    metric = _metric([name for name in rows.columns if name not in KEYS])
    examples = run.examples().drop_duplicates("example_id").set_index("example_id")
    models = dict(zip(run.runs()["run_id"].astype(str), run.runs()["model"].astype(str), strict=True))
    told = _told(run)
    views: list[ItemView] = []
    for run_id, example_id in _first_of_each_level(rows, examples):
        own = rows[(rows["run_id"] == run_id) & (rows["example_id"] == example_id)]
        prompt = inputs[(inputs["run_id"] == run_id) & (inputs["example_id"] == example_id)]
        starts = prompt["char_starts"].iloc[0] if len(prompt) else None
        text = examples["text"].get(example_id)
        if metric and starts is not None and isinstance(text, str):
            key = f"tokens-{len(views) + 1}"
            width = _width(run, run_id, str(own["site"].iloc[-1]))
            known = told[(told["run_id"] == run_id) & (told["example_id"] == example_id)]
            view = _Item(own, metric, width, _pieces(text, [int(start) for start in starts]), known)
            label = str(examples["level_name"].get(example_id) or examples["level"].get(example_id))
            views.append(_view(key, example_id, label, short_model(models.get(run_id, "")), view, studio))
        if len(views) == MOST_ITEMS:
            break
    return views


class _Item(NamedTuple):
    rows: pd.DataFrame
    metric: str
    width: float
    pieces: list[str]
    told: pd.DataFrame


def _told(run: Run) -> pd.DataFrame:
    """Rows of the one measure of familiarity that is shown: surprisal, or the first one that the sweep has."""
    rows = run.familiarity_tokens()
    if rows.empty:
        return rows
    names = [str(name) for name in rows["measure"].unique() if not str(name).startswith(f"{GENERATED}_")]
    if not names:
        return rows.iloc[:0]
    measures, corpora = (rows[name].astype(str).to_numpy(object) for name in ("measure", "corpus"))
    own = measures == (SURPRISAL if SURPRISAL in names else names[0])
    return rows.iloc[np.flatnonzero(own & (corpora == corpora[own][0]))]


def _view(key: str, example_id: str, label: str, model: str, item: _Item, studio: Studio) -> ItemView:
    table = item.rows.pivot_table(index=["layer", "site"], columns="token", values=item.metric, observed=True)
    names = [place(str(site), int(layer)) for layer, site in table.index]
    tokens = [int(token) for token in table.columns]
    values = table.to_numpy(np.float64)
    pieces = [item.pieces[token] if token < len(item.pieces) else "" for token in tokens]
    known = dict(zip(item.told["token"].astype(int), item.told["value"].astype(float), strict=True))
    familiarity = [known.get(token, math.nan) for token in tokens]
    measure = str(item.told["measure"].iloc[0]) if known else ""
    caption = "The same item through the layers, its first tokens"
    reference = chance(item.metric, item.width)
    middle = reference.mean if reference is not None else None
    caption += ": orange above chance, purple below." if middle is not None else "."
    if measure:
        caption += f" Bars: {measure} of each token; the cells below it are of states that have read it."
    unit = f"{measure} (bits)" if measure == SURPRISAL else measure
    picture = studio.draw(
        key,
        partial(figures.strip, figures.Strip(pieces, names, values, item.metric, middle, unit, familiarity)),
        label=f"{item.metric} of each token of {example_id} through the layers",
        caption=caption,
    )
    said = [f"{token}: {number(value)}" for token, value in zip(tokens, values[-1].tolist(), strict=True)]
    if measure:
        said = [f"{one}; {measure} {number(value)}" for one, value in zip(said, familiarity, strict=True)]
    shaded = _shaded(pieces, said, values[-1], item.metric, middle)
    return ItemView(
        example_id,
        label,
        model,
        names[-1],
        item.metric,
        shaded[:MOST_TOKENS],
        max(len(shaded) - MOST_TOKENS, 0),
        picture,
    )


def _shaded(
    pieces: Sequence[str], said: Sequence[str], values: np.ndarray, metric: str, middle: float | None
) -> list[Token]:
    finite = values[np.isfinite(values)]
    centre = middle if middle is not None else (float(np.median(finite)) if len(finite) else 0.0)
    reach = float(np.abs(finite - centre).max()) if len(finite) else 1.0
    higher = sparser(metric) != "lower"
    tokens: list[Token] = []
    for piece, words, value in zip(pieces, said, values.tolist(), strict=True):
        share = abs(value - centre) / reach if math.isfinite(value) and reach > 0 else 0.0
        side = "sparser" if (value > centre) == higher else "denser"
        tokens.append(Token(piece, words, round(FULL * share, 3), side))
    return tokens


def _pieces(text: str, starts: Sequence[int]) -> list[str]:
    """Text of each token, from where it starts to where the next one does; the last may be cut and gets one word."""
    pieces: list[str] = []
    for index, start in enumerate(starts):
        after = next((other for other in starts[index + 1 :] if other >= 0), -1)
        if start < 0:
            pieces.append("")
        elif after >= 0:
            pieces.append(text[start:after])
        else:
            word = WORD.match(text, start)
            pieces.append(word[0] if word else "")
    return [piece[:LONGEST_TOKEN] for piece in pieces]


def _first_of_each_level(rows: pd.DataFrame, examples: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = rows[["run_id", "example_id"]].drop_duplicates().astype(str)
    found = examples.reindex(pairs["example_id"])
    table = pairs.assign(
        level=found["level"].to_numpy(),
        name=found["level_name"].astype(object).to_numpy(),
        shifted=(found["split"].astype(str) != "in").to_numpy(),
    )
    first = table.drop_duplicates(["run_id", "level", "name"]).sort_values(["shifted", "level"], kind="stable")
    return list(zip(first["run_id"], first["example_id"], strict=True))


def _metric(names: Sequence[str]) -> str:
    if PRIMARY_METRIC in names:
        return PRIMARY_METRIC
    return next((name for name in names if sparser(name) is not None), "")


def _width(run: Run, run_id: str, site: str) -> float:
    try:
        return float(run.width(run_id, site))
    except (ValueError, KeyError):
        return math.nan
