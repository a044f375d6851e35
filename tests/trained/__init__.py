"""The small trained model that the tests read, with its text and its recipe (`tests.trained.__main__`); all is ours."""

from pathlib import Path
from typing import Final

MODEL: Final = Path(__file__).parent / "model"
RECIPE: Final = "recipe.json"
PROSE: Final = tuple(
    " ".join(part.split())
    for part in Path(__file__).parents[2].joinpath("LICENSE").read_text(encoding="utf-8").split("\n\n")
    if len(part) > 200
)
"""English that no story is like: the longer paragraphs of the licence."""
HELD_OUT: Final = 1
"""Seed of stories that the model was not trained on."""
