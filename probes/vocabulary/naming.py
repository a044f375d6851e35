"""Short names of models: as little of a path as tells each from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final

PATHS: Final = ("/", ".", "~")  # how the name of a model begins that is a path and not a hub's


def told_apart(names: Iterable[str]) -> dict[str, str]:
    """The shortest end of each path that no other path ends with.

    >>> told_apart(["a/checkpoint", "b/checkpoint", "/data/gpt2"])
    {'a/checkpoint': 'a/checkpoint', 'b/checkpoint': 'b/checkpoint', '/data/gpt2': 'gpt2'}
    """
    parts = {name: PurePath(name).parts or (name,) for name in names}
    found: dict[str, str] = {}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        tails = {name: "/".join(own[-length:]) for name, own in parts.items()}
        shared = Counter(tails.values())
        for name, tail in tails.items():
            if shared[tail] == 1:
                found.setdefault(name, tail)
    return {name: found.get(name, name) for name in parts}


def labels(entries: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """A short label for each model of a spec; one that is named twice goes by what else its entry says.

    >>> labels([{"name": "/a/m"}, {"name": "gpt2", "dtype": "float32"}, {"name": "gpt2", "dtype": "bfloat16"}])
    ('m', 'gpt2 (dtype float32)', 'gpt2 (dtype bfloat16)')
    """
    asked = [(str(entry["name"]), {key: entry[key] for key in entry if key != "name"}) for entry in entries]
    short = told_apart(name for name, _ in asked)
    times = Counter(name for name, _ in asked)
    details = [", ".join(f"{key} {value}" for key, value in said.items()) for _, said in asked]
    return tuple(
        f"{short[name]} ({said})" if times[name] > 1 and said else short[name]
        for (name, _), said in zip(asked, details, strict=True)
    )
