"""Texts of two domains that every machine has: documentation to train a model on, code that it has never seen.

Documentation is the docstrings of packages that this toolkit depends on; code is the standard library's. A module is a
document. A package stands on one side of every split with all its modules, of which a few are taken, because modules of
one package repeat each other; the tables of `encodings`, which are one module a hundred times, are left out.
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
PACKAGE: Final = 4  # documents of one package, at most
LEFT_OUT: Final = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data", "__pycache__"}
)


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
    sizes = (documents, max(1, documents // 4), max(2, documents // 2))
    parts: list[list[Text]] = [[], [], []]
    for package in _packages(domain, rng):
        for part, size in zip(parts, sizes, strict=True):
            room = size - len(part)
            if room > 0:
                part.extend(package[:room])
                break
    if any(len(part) < size for part, size in zip(parts, sizes, strict=True)) or not source:
        raise InputError(
            f"{documents} documents to remember need {sum(sizes)} of the domain, a quarter more to tune and half more "
            f"to test on, no more than {PACKAGE} of one folder, and one or more of the source; got {len(domain)} and "
            f"{len(source)}"
        )
    old = [source[int(index)] for index in rng.permutation(len(source))[: max(2, documents // 4)]]
    return Split(*([excerpt(one, characters) for one in part] for part in (*parts, old)))


def _packages(texts: Sequence[Text], rng: np.random.Generator) -> list[list[Text]]:
    """Documents by the folder they lie in, a few of each, in an order that is drawn."""
    found: dict[str, list[Text]] = {}
    for index in rng.permutation(len(texts)):
        one = texts[int(index)]
        found.setdefault(one.name.partition("/")[0], []).append(one)
    return [own[:PACKAGE] for own in found.values()]


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if not LEFT_OUT & set(path.relative_to(folder).parts):
            yield path
