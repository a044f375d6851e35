"""The calls that wrote a sweep, as its manifests list them, and which of its shards are there.

Every folder that a process writes has a manifest of its own: one in the sweep directory, one in every shard. A call of
``sparsity sweep`` adds what it computes with before it commits anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from probes.errors import InputError
from probes.records.schema import SCHEMA_VERSION
from probes.records.store import folders_of

MANIFEST: Final = "manifest.json"
SPEC: Final = "sweep.yaml"

Session = Mapping[str, Any]


class Shards(NamedTuple):
    """Shards of a sweep that have written.

    Attributes:
        n: how many there should be.
        there: the numbers of those that are.
    """

    n: int
    there: tuple[int, ...]

    @property
    def n_missing(self) -> int:
        """Number of shards that have written nothing."""
        return self.n - len(self.there)

    def __str__(self) -> str:
        one = len(self.there) == 1
        listed = f"shard{'' if one else 's'} {', '.join(map(str, self.there))} of {self.n}"
        missing = f"{self.n_missing} {'is' if self.n_missing == 1 else 'are'} missing"
        return f"{listed} {'is' if one else 'are'} there; {missing if self.n_missing else 'none is missing'}"


def sessions_in(folder: Path) -> list[Session]:
    """The calls that wrote into one folder, oldest first; none where there is no manifest.

    Raises:
        InputError: if the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        return list(json.loads(path.read_bytes())["sessions"])
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path} is no manifest of a sweep; restore or delete it: no number depends on it") from None


def sessions_of(directory: Path) -> list[Session]:
    """The calls that wrote into a sweep directory and its shards, oldest first; the closing one last."""
    found: list[Session] = []
    for folder in folders_of(directory):
        found += [session for session in sessions_in(folder) if session not in found]
    return sorted(found, key=lambda session: (str(session.get("started")), session.get("shard") is None))


def manifest(sessions: Sequence[Session]) -> str:
    """The text of a manifest."""
    return json.dumps({"schema": SCHEMA_VERSION, "sessions": list(sessions)}, indent=1, ensure_ascii=False)


def shards_of(directory: Path) -> Shards | None:
    """Shards of a sweep that are there; None for a sweep in one piece, or one that an unsharded call has closed."""
    asked = [session.get("shard") for session in sessions_of(directory)]
    if not asked or asked[-1] is None:
        return None
    count = str(asked[-1]).partition("/")[2]
    there = {str(one).partition("/")[0] for one in asked if str(one).endswith(f"/{count}")}
    return Shards(int(count), tuple(sorted(map(int, there))))
