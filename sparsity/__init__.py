"""Measures of activation sparsity, one definition each, on numpy and torch.

>>> import numpy as np, sparsity
>>> float(sparsity.gini(np.array([0.0, 0.0, 0.0, 1.0])))
0.75
>>> sparsity.METRICS["gini"].sparser
'higher'

One vector: the measures below, :func:`profile` for many at once, ``nulls`` for the expectation of a random vector. A
set of vectors: ``population``, ``neighbours``, ``streaming``. Which coordinates, and in which basis: ``locate``,
``bases``, ``rotations``. A measure of your own: :func:`metric`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
