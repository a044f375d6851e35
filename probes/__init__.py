"""Measurements of models on inputs: suites, collectors, records and sweeps.

>>> import probes
>>> probes.load_model.__module__
'probes.models.loading'

Names of this package and of those in it are looked up when they are used (they are listed in ``__init__.pyi``), so that
reading a sweep or printing help does not import torch.
"""

import lazy_loader

from sparsity import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
