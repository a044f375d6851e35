"""Short names of models: as little of a path as tells each from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
