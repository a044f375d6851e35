"""Massive tokens, told by the lengths of their states.

Some tokens hold a state many times as long as all others (attention sinks: often the first, but not only). Such a state
is sparse for a reason of its own, and a mean over tokens can be a mean of two kinds of thing. So they are told apart
wherever they stand: position ``typical`` leaves them out while measuring, and who reads tokens can ask which they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

MASSIVE: Final = 5.0  # a state this many times as long as the median of its prompt is called massive


def massive(lengths: Float[np.ndarray, " n"], item: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Mask of the vectors more than :data:`MASSIVE` times as long as the median vector of their item; False for NaN.

    Args:
        lengths: L2 norms.
        item: which item (and place) each belongs to.

    >>> massive(np.array([9.0, 1.0, 1.5, 1.0, 1.0]), np.array([0, 0, 0, 1, 1]))
    array([ True, False, False, False, False])
    """
    finite = pd.Series(np.where(np.isfinite(lengths), lengths, np.nan))
    return (finite > MASSIVE * finite.groupby(item).transform("median")).to_numpy()
