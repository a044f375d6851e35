"""Intrinsic dimensions by scikit-dimension, as golden values for ``sparsity.neighbours.two_nn``.

Run in an environment of its own (``pip install scikit-dimension``): ``python make_two_nn.py > two_nn.json``. The sets
are drawn by numpy from the seeds stored beside the values, so that the test can draw them again.
"""

import json
import sys

import numpy as np


def draw(kind: str, n: int, dimension: int, ambient: int, seed: int) -> np.ndarray:
    """Draw a set of known dimension inside a wider space."""
    rng = np.random.default_rng(seed)
    if kind == "sphere":
        points = rng.standard_normal((n, dimension + 1))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    elif kind == "ball":
        points = rng.standard_normal((n, dimension))
        points *= (rng.random((n, 1)) ** (1 / dimension)) / np.linalg.norm(points, axis=1, keepdims=True)
    else:
        points = rng.random((n, dimension))
    turn = np.linalg.qr(rng.standard_normal((ambient, ambient)))[0][: points.shape[1]]
    return points @ turn


SETS = [
    {"kind": "sphere", "n": 600, "dimension": 5, "ambient": 12, "seed": 1},
    {"kind": "ball", "n": 800, "dimension": 10, "ambient": 30, "seed": 2},
    {"kind": "cube", "n": 500, "dimension": 2, "ambient": 6, "seed": 3},
]

if __name__ == "__main__":
    from importlib.metadata import version

    import skdim

    values = [dict(one, value=float(skdim.id.TwoNN(discard_fraction=0.1).fit(draw(**one)).dimension_)) for one in SETS]
    json.dump(
        {"made_by": f"scikit-dimension {version('scikit-dimension')} TwoNN(discard_fraction=0.1)", "sets": values},
        sys.stdout,
        indent=1,
    )
    sys.stdout.write("\n")
