"""Analyses of a sweep: each reads its tables, answers one question and never touches a model.

>>> from analyses import ANALYSES, Finding

The names are looked up when they are used (they are listed in ``__init__.pyi``), so that asking one question does not
import what draws pages.
"""

import lazy_loader

from sparsity import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
