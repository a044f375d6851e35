"""One sweep that asks for nearly everything, and what transformers shows of its texts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from probes import open_run
from tests.analyses.conftest import MODULES
from tests.reachable import plain
from tests.reachable.asking import LAST_BLOCK, SUITE, items, run, spec_in
from tests.trained import MODEL

SPEC = {
    "models": [str(MODEL)],
    "suites": [SUITE],
    "sites": [f"attn_z.{LAST_BLOCK}", "final_norm"],
    "positions": ["last", "mean"],
    "metrics": ["hoyer", "l2_norm"],
    "outcomes": ["nll", "next_token_entropy", "mean_next_token_entropy", "correct"],
    "controls": ["outliers", "bases", "substitution"],
    "populations": "default",
    "nulls": ["rotations", "shuffle", "untrained"],
    "states": ["final_norm"],
    "familiarity": {
        "measures": ["knn_distance(3)", "mahalanobis", "energy", "next_token_entropy"],
        "known": {"suite": "items", "site": "final_norm"},
    },
}
BRIEFLY = ("--set", "controls=none", "--set", "populations=none")


@pytest.fixture(scope="module", autouse=True)
def fewer_resamples() -> Iterator[None]:
    """Intervals are not asked about here."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setattr(f"{module}.RESAMPLES", 50)
        yield


@pytest.fixture(scope="package")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One sweep, begun with a few items and gone on with: its tables, and what transformers shows of its texts."""
    folder = tmp_path_factory.mktemp("reachable")
    spec, out = spec_in(folder, SPEC), folder / "run"
    run("sweep", spec, "--out", out, "--limit", 2, "--batch-size", 3, *BRIEFLY)
    said = run("sweep", spec, "--out", out)
    records = open_run(out)
    model = plain.stories()
    order = [f"items:{item['id']}" for item in items()]
    by_text = {item["text"]: model.read(item["text"], "o_proj") for item in items()}
    shown = [by_text[item["text"]] for item in items()]
    return SimpleNamespace(
        said=said,
        records=records,
        order=order,
        shown=shown,
        sets=records.populations(),
        level=np.array([item["level"] for item in items()]),
        last=np.stack([own.hidden[-1][-1] for own in shown]),
    )
