"""Packages that only some users need, imported where they are used.

Suffix sorting and large-scale neighbour search come with the extra ``familiarity``; nothing here is imported before a
function asks for it, and a missing package is one plain sentence instead of a traceback.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

from probes.errors import InputError

PACKAGES: Final = {
    "pydivsufsort": "activation-sparsity[familiarity]",
    "faiss": "activation-sparsity[familiarity]",
    "constriction": "activation-sparsity[compression]",
    "imagecodecs": "activation-sparsity[compression]",
    "pyppmd": "activation-sparsity[compression]",
    "soundfile": "activation-sparsity[compression]",
    "zstandard": "activation-sparsity[compression]",
    "tokengrams": "activation-sparsity[tokengrams]",
    "bm25s": "activation-sparsity[curriculum]",
    "wordfreq": "activation-sparsity[concepts]",
    "infini_gram": "infini-gram",
}


def extra(package: str) -> Any:  # noqa: ANN401  a module without type stubs
    """Import an optional package.

    Raises:
        InputError: if it is not installed, naming the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        top = package.split(".", maxsplit=1)[0]
        raise InputError(
            f"this needs the package {top}, which is not installed: pip install '{PACKAGES[top]}'"
        ) from None


def has_extra(package: str) -> bool:
    """True where an optional package is installed, without importing it."""
    return importlib.util.find_spec(package) is not None
