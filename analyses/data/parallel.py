"""Items of parallel corpora that say only by their ids that they belong together: ``mgsm-17-te`` and ``mgsm-17-en``.

A suite that names clusters is read as it says. Of items without a cluster the rule is: the last part of an id (after
``-``, ``_``, ``.``, ``/`` or ``:``) is the same for all items of a group, and another in every group; what stands
before it is the source; and most items have a partner of the same source in another group. Then a source is a cluster,
and groups are compared within it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

ENDING: Final = re.compile(r"^(?P<source>.+)[-_./:](?P<ending>[^-_./:]+)$")
MOST: Final = 0.5  # share of the items that must have a partner


def sources_of(ids: Sequence[str], groups: Sequence[str]) -> list[str] | None:
    """The source of every item by its id; None where the ids do not follow the rule.

    Args:
        ids: one per item, without the name of its suite.
        groups: the level or domain of each.

    >>> sources_of(["mgsm-1-te", "mgsm-2-te", "mgsm-1-en", "mgsm-2-en"], ["Telugu", "Telugu", "English", "English"])
    ['mgsm-1', 'mgsm-2', 'mgsm-1', 'mgsm-2']
    >>> sources_of(["te-1", "te-2", "en-1", "en-2"], ["te", "te", "en", "en"]) is None
    True
    """
    found = [ENDING.match(name) for name in ids]
    parts = [(match["source"], match["ending"]) for match in found if match]
    if not parts or len(parts) < len(ids):
        return None
    items = pd.DataFrame(parts, columns=["source", "ending"]).assign(group=list(groups))
    pairs = items[["group", "ending"]].drop_duplicates()
    one_to_one = pairs["group"].is_unique and pairs["ending"].is_unique
    partners = items.groupby("source")["group"].transform("nunique")
    if not one_to_one or len(pairs) < 2 or (partners > 1).mean() <= MOST:
        return None
    return [source for source, _ in parts]
