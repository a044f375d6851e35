"""Style and output of every figure: type, colours, room around the axes, SVG that a page can hold.

Levels of an ordered axis run through viridis, domains take the Okabe-Ito set with the in-distribution one in black.
Both survive the common colour blindnesses and grey print. Text in an SVG stays text, so that it can be searched and
takes the reader's font; text from strangers is never markup.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from analyses.findings.record import Level

STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.dpi": 100,
    "savefig.transparent": True,
    "text.parse_math": False,  # a dollar in the name of a level is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "sparsity",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}
OKABE_ITO: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6A00", "#7A4FA3")
INHERITED: Final = 'stroke-linejoin="round" font-family="DejaVu Sans, sans-serif"'
TAG: Final = re.compile(r"<[a-zA-Z][^>]*>")
FINE: Final = re.compile(r"(-?\d+\.\d\d)\d+")
GROUP: Final = re.compile(r"<g(?: [^>]*)?>|</g>")
EMPTY: Final = re.compile(r"<(g|defs)>\s*</\1>")
# Inches a character takes at 8.5 points in DejaVu Sans, the widest of the fonts a reader may see.
CHARACTER: Final = 0.078

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the style of this module and leave matplotlib's own settings alone."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def to_svg(figure: Figure, *, label: str, key: str) -> str:
    """The figure as an inline SVG element that scales with its column and speaks to screen readers.

    Args:
        figure: what to draw.
        label: what a screen reader says; any text.
        key: unique in the page; ids inside the SVG get it as a prefix.
    """
    buffer = io.StringIO()
    with _drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    opening, rest = _tidied(text[text.index("<svg") :], key).split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*pt"', "", opening)
    return f'{opening} {INHERITED} role="img" aria-label="{_attribute(label)}">{rest}'


def _tidied(svg: str, key: str) -> str:
    """The same drawing at about a quarter of the size.

    What goes: comments (they repeat every text), names of groups that nothing points to, the type face of each text
    (the root says it once), and digits below a hundredth of a point. The words of a text are never touched.
    """
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    targets = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    names = {target: f"{key}-{number}" for number, target in enumerate(targets)}

    def tag(found: re.Match[str]) -> str:
        text = re.sub(r' id="([^"]*)"', lambda own: f' id="{names[own[1]]}"' if own[1] in names else "", found[0])
        text = re.sub(r'(href="#|url\(#)([^")]+)', lambda own: own[1] + names[own[2]], text)
        text = re.sub(r"font-family: [^;\"]*;? ?| transform=\"rotate\(-?0 [^\"]*\"", "", text)
        text = re.sub(r"font: ([\d.]+px) '[^\";]*(;?)", r"font-size: \1\2", text)
        return re.sub(r"\s+", " ", FINE.sub(r"\1", text)).replace(' "', '"')

    svg = re.sub(r">\s+<", "><", TAG.sub(tag, svg))
    while (smaller := EMPTY.sub("", svg)) != svg:
        svg = smaller
    return GROUP.sub(_Unwrapped(), svg)


class _Unwrapped:
    """Takes away groups without attributes, which matplotlib nests five deep, and keeps what they hold."""

    def __init__(self) -> None:
        self._kept: list[bool] = []

    def __call__(self, found: re.Match[str]) -> str:
        if found[0] != "</g>":
            self._kept.append(found[0] != "<g>")
            return found[0] if self._kept[-1] else ""
        return found[0] if self._kept.pop() else ""


def standalone(svg: str) -> str:
    """An inline SVG as a file of its own."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'


def save(figure: Figure, path: Path) -> str:
    """Write a figure; the suffix says as what (svg, pdf, png).

    Characters that the usual type face lacks (Chinese, say) are taken from whichever installed font has them.

    Returns:
        The characters that no installed font has, which are boxes in the file.
    """
    texts = figure.findobj(Text)
    installed = _installed()
    own = str(STYLE["font.family"])
    strange = {c for text in texts for c in text.get_text() if c.isprintable()}
    strange -= _characters(font_manager.findfont(own))
    fonts: list[str] = []
    for font, file in installed.items() if strange else ():
        there = strange & _characters(file)
        if there:
            fonts.append(font)
            strange -= there
        if not strange:
            break
    with _drawing():
        for text in texts if fonts else ():
            text.set_fontfamily([own, *fonts])
        figure.savefig(path, dpi=200)
    return "".join(sorted(strange))


@lru_cache(maxsize=256)
def _characters(file: str) -> frozenset[str]:
    """The characters that a font file has; none where it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _installed() -> dict[str, str]:
    """Names and files of the installed fonts, without placeholders that have a box for every character."""
    fonts = {font.name: str(font.fname) for font in font_manager.fontManager.ttflist}
    return {name: file for name, file in fonts.items() if "LastResort" not in name.replace(" ", "")}


@contextmanager
def _drawing() -> Generator[None]:
    """The style, and no complaint about characters that the font lacks: what they are is told by :func:`save`."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(
    size: tuple[float, float], *, left: float = 0.62, right: float = 0.12, bottom: float = 0.62, top: float = 0.28
) -> tuple[Figure, Axes]:
    """A figure with room for what stands outside its axes; fixed room is a tenth of the time of a fitted one."""
    width, height = size
    figure = Figure(figsize=size)
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return figure, axes


def width_of(names: Sequence[str]) -> float:
    """Inches that the longest of these names takes at the font size of labels."""
    return 0.1 + CHARACTER * max(map(_columns, names), default=0)


def _columns(name: str) -> int:
    """Characters that a name takes the room of; a Chinese one is as wide as two Latin ones."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in name)


def ordered_colours(n: int) -> list[str]:
    """Colours of n levels in order, dark to light."""
    viridis = colormaps["viridis"]
    return [to_hex(viridis(float(place))) for place in np.linspace(0.0, 0.88, n)]


def level_colours(rows: Sequence[Level]) -> list[str]:
    """One colour per level, or per domain."""
    if not math.isnan(rows[0].value):
        return ordered_colours(len(rows))
    colours: list[str] = []
    n_shifted = 0
    for row in rows:
        colours.append(OKABE_ITO[n_shifted % len(OKABE_ITO)] if row.shifted else "#000000")
        n_shifted += row.shifted
    return colours


def _attribute(text: str) -> str:
    cleaned = "".join(character for character in text if character.isprintable())
    for raw, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        cleaned = cleaned.replace(raw, escaped)
    return cleaned
