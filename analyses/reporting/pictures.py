"""A figure of the page: drawn once, inline in the page, beside it as a file in every format asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from matplotlib.figure import Figure

from analyses.drawing import save, standalone, to_svg

Format = Literal["pdf", "png"]


class Picture(NamedTuple):
    """One figure of the page.

    Attributes:
        key: unique name, also that of its file.
        svg: the drawing.
        caption: what it shows, in words.
    """

    key: str
    svg: str
    caption: str


class Studio(NamedTuple):
    """Where figures go.

    Attributes:
        folder: the folder of figure files; SVG always, because the Markdown shows them.
        formats: further formats.
    """

    folder: Path
    formats: Sequence[Format] = ()

    def draw(self, key: str, drawing: Callable[[], Figure], *, label: str, caption: str) -> Picture:
        """Draw a figure, write its files and hand back what the page shows.

        Args:
            key: unique in the page; letters, digits and dashes.
            drawing: makes the figure.
            label: what a screen reader says; any text.
            caption: what stands below it.
        """
        figure = drawing()
        svg = to_svg(figure, label=label, key=key)
        (self.folder / f"{key}.svg").write_text(standalone(svg), encoding="utf-8")
        for suffix in self.formats:
            save(figure, self.folder / f"{key}.{suffix}")
        return Picture(key, svg, caption)
