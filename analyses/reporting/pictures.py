"""A figure of the page: drawn once, inline in the page, beside it as a file in every format asked for.

``captions.json`` in the folder of figures lists the files and what each shows; by it the figures of an earlier report
are told from files of somebody else and removed, so that no stale figure ends up in a paper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from matplotlib.figure import Figure

from analyses.figures.drawing import save, standalone, to_svg

Format = Literal["pdf", "png"]
Progress = Callable[[str], None]  # told in a few words what is done next
MOST_BOXES: Final = 20
CAPTIONS: Final = "captions.json"
OURS: Final = re.compile(r"[\w.-]*\w\.(svg|pdf|png)")


def quiet(_: str) -> None:
    """No progress."""


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


class Studio:
    """Destination of figures."""

    def __init__(self, folder: Path, formats: Sequence[Format] = ()) -> None:
        """Open a folder of figures, without those that an earlier report left there.

        Args:
            folder: the folder of figure files; SVG always, because the Markdown shows them.
            formats: further formats.
        """
        self._folder = folder
        self._formats = formats
        self._captions: dict[str, str] = {}
        self.boxes: set[str] = set()  # characters that no installed font has
        folder.mkdir(parents=True, exist_ok=True)
        for name in _listed(folder / CAPTIONS):
            (folder / name).unlink(missing_ok=True)

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
        (self._folder / f"{key}.svg").write_text(standalone(svg), encoding="utf-8")
        self._captions[f"{key}.svg"] = caption
        for suffix in self._formats:
            self.boxes |= set(save(figure, self._folder / f"{key}.{suffix}"))
            self._captions[f"{key}.{suffix}"] = caption
        return Picture(key, svg, caption)

    def missing_font(self) -> str:
        """A sentence about the characters that are boxes in some file; empty where none is."""
        if not self.boxes:
            return ""
        listed = "".join(sorted(self.boxes)[:MOST_BOXES])
        return (
            f"No installed font has {len(self.boxes)} characters of the labels ({listed}): they are boxes in "
            f"{' and '.join(self._formats)} files. Install a font that has them (fonts-noto-cjk for Chinese, Japanese "
            "and Korean) and report again. SVG files and the page use the fonts of whoever reads them."
        )

    def close(self) -> None:
        """Write which figures there are."""
        (self._folder / CAPTIONS).write_text(json.dumps(self._captions, indent=1), encoding="utf-8")


def _listed(path: Path) -> list[str]:
    """Names of figures in a list that an earlier report wrote; plain names only, whatever the list says."""
    try:
        names = list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return []
    return [name for name in names if OURS.fullmatch(str(name))]
