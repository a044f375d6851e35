"""Texts of two domains that every machine has: documentation to train a model on, code that it has never seen.

Documentation is the docstrings of packages that this toolkit depends on; code is the standard library's. A module is a
document and stands on one side of every split.
"""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from probes.errors import InputError

DOCUMENTED: Final = ("numpy", "scipy", "sklearn", "pandas")
SOURCE_CHARACTERS: Final = 3_000_000
SHORTEST: Final = 512  # characters of a module's docstrings, or of its code
EVERY: Final = 20  # so-manieth module of documentation is test text
LEFT_OUT: Final = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


class Text(NamedTuple):
    """A document and its name."""

    name: str
    text: str


class Split(NamedTuple):
    """Texts of the domain that a memory is made of, of its tuning and of its test, and of the domain it came from.

    Attributes:
        train: what memories hold.
        validation: what weights and temperatures are found on.
        test: what they are judged by.
        source: test text of the domain that the model was trained on: what may be forgotten.
    """

    train: Sequence[Text]
    validation: Sequence[Text]
    test: Sequence[Text]
    source: Sequence[Text]


def documentation() -> Iterator[Text]:
    """Docstrings of every module of some packages, in order of their paths."""
    for package in DOCUMENTED:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            continue
        folder = Path(found.origin).parent
        for path in _modules(folder):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            told = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
            text = "\n\n".join(one for one in told if one)
            if len(text) >= SHORTEST:
                yield Text(f"{package}/{path.relative_to(folder)}", text)


def source_texts(characters: int = SOURCE_CHARACTERS) -> tuple[list[Text], list[Text]]:
    """Documentation to train on, of so many characters, and documentation that is held out, module by module."""
    train: list[Text] = []
    held_out: list[Text] = []
    size = 0
    for number, one in enumerate(documentation()):
        (held_out if number % EVERY == 0 else train).append(one)
        size += len(one.text)
        if size >= characters:
            break
    return train, held_out


def library_code() -> list[Text]:
    """Modules of the standard library, tests left out."""
    folder = Path(sysconfig.get_path("stdlib"))
    read = ((path, path.read_text(encoding="utf-8", errors="ignore")) for path in _modules(folder))
    return [Text(str(path.relative_to(folder)), text) for path, text in read if len(text) >= SHORTEST]


def excerpt(text: Text, characters: int) -> Text:
    """A passage from a third of the way on, or the whole of a short text; it begins with a line."""
    if len(text.text) <= characters:
        return text
    start = text.text.find("\n", (len(text.text) - characters) // 3) + 1
    return Text(text.name, text.text[start : start + characters])


def split_texts(domain: Sequence[Text], source: Sequence[Text], *, documents: int, characters: int, seed: int) -> Split:
    """Draw documents: so many to remember, a quarter as many to tune on, half as many to test on, and of the source.

    Args:
        domain: documents of the new domain.
        source: held-out documents of the old one.
        documents: how many are remembered.
        characters: of the passage taken from each.
        seed: of the draw.

    Raises:
        InputError: if there are too few documents.
    """
    rng = np.random.default_rng([seed, len(domain)])
    n_validation, n_test = max(1, documents // 4), max(2, documents // 2)
    needed = documents + n_validation + n_test
    if len(domain) < needed or not source:
        raise InputError(
            f"{documents} documents to remember need {needed} of the domain, a quarter more to tune and half more to "
            f"test on, and at least one of the source; got {len(domain)} and {len(source)}"
        )
    drawn, old_drawn = rng.permutation(len(domain))[:needed], rng.permutation(len(source))[: max(2, documents // 4)]
    own = [excerpt(domain[int(index)], characters) for index in drawn]
    old = [excerpt(source[int(index)], characters) for index in old_drawn]
    return Split(own[:documents], own[documents : documents + n_validation], own[documents + n_validation :], old)


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if not LEFT_OUT & set(path.relative_to(folder).parts):
            yield path
