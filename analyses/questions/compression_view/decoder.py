"""Decoder: does a retrieval distribution fit into a small model that stands beside the large one?

`sparsity memory evaluate` writes what every way to add a domain costs on every test document. A small model that
imitates the datastore (alpha 1) is compared with the same small model trained on the texts in the ordinary way (alpha
0), as long and tuned alike: what it is better by is due to what it was taught. Primary: bits per byte of the latter
less those of the former, over documents. Beside it: the datastore itself, and counts of the corpus, which need no
training.

Limits. Documents are what is resampled, so a difference speaks about documents like these with models trained from
these seeds; the seeds of one table are too few to generalise over.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.data.runs import Run
from analyses.data.written_tables import written
from analyses.findings.contrast import judge
from analyses.findings.formatting import shown, with_interval
from analyses.findings.panel import FEWEST_ITEMS
from analyses.findings.record import Finding, Mark, Plot, Scope, Significance, Verdict
from analyses.findings.registry import analysis
from analyses.statistics.groups import Average, average

QUESTION: Final = "Does a retrieval distribution fit into a small decoder?"
TABLE: Final = "documents"
TAUGHT, PLAIN, DATASTORE, COUNTS, ALONE = (
    *("small model, alpha 1", "small model, alpha 0", "kNN-LM", "infinity-gram", "base"),
)
UNIT: Final = (
    "bits per byte of another system less those of the taught small model, positive = the taught one is better"
)
CLAIMS: Final[dict[Verdict, str]] = {
    "supported": "needs fewer bits than",
    "contradicted": "needs more bits than",
    "undecided": "is not shown to need fewer or more bits than",
    "described": "stands beside",
}


@analysis(QUESTION, order=5, title="A memory as a small decoder", counted="documents")
def decoder(run: Run) -> list[Finding]:
    """Answer for every comparison of memories that lies beside the sweeps."""
    tables = written(run, TABLE)
    return [finding for model, table in tables.items() for finding in _of_table(model, table)]


def _of_table(model: str, table: pd.DataFrame) -> list[Finding]:
    if not {"system", "split", "document", "seed", "bits", "n_bytes"} <= set(table.columns):
        return []
    per_byte = bits_per_byte(table)
    if not {TAUGHT, PLAIN} <= set(per_byte.columns):
        return []
    others = [name for name in (PLAIN, DATASTORE, COUNTS, ALONE) if name in per_byte.columns]
    compared = {name: _less(per_byte, name) for name in others}
    n_seeds = table["seed"].nunique()
    return [_finding(model, name, found, len(per_byte), n_seeds, compared) for name, found in compared.items()]


def bits_per_byte(table: pd.DataFrame) -> pd.DataFrame:
    """A row per document of the new domain, a column per system; a document of several seeds is one."""
    own = table[table["split"] == "domain"].copy()
    own["per_byte"] = own["bits"] / own["n_bytes"]
    return own.pivot_table(index="document", columns="system", values="per_byte", aggfunc="mean")


def _less(per_byte: pd.DataFrame, other: str) -> Average:
    apart: Float[np.ndarray, " documents"] = (per_byte[other] - per_byte[TAUGHT]).dropna().to_numpy(np.float64)
    return average(apart)


def _finding(
    model: str, other: str, found: Average, n_documents: int, n_seeds: int, compared: dict[str, Average]
) -> Finding:
    primary = other == PLAIN
    verdict = judge(found.interval) if n_documents >= FEWEST_ITEMS else "described"
    marks = [Mark("", shown(name), float("nan"), each.mean, *each.interval) for name, each in compared.items()]
    beside = f" beside {shown(model)}" if model else ""
    return Finding(
        analysis="decoder",
        question=QUESTION,
        scope=Scope(model=model, suite=TABLE, metric="bits_per_byte", group="" if primary else other),
        primary=primary,
        estimate=found.mean,
        interval=found.interval,
        unit=UNIT,
        quantity="difference in bits per byte",
        n=n_documents,
        n_clusters=n_documents,
        test=Significance("Student's t over documents", found.p, found.p),
        verdict=verdict,
        plot=Plot("forest", UNIT, "", tuple(marks), 0.0) if primary else None,
        text=(
            f"A small model that was taught a retrieval distribution {CLAIMS[verdict]} {_named(other)}{beside}: "
            f"{with_interval(found.mean, found.interval)} bits per byte over {n_documents:,} documents, {n_seeds} "
            f"{'seed' if n_seeds == 1 else 'seeds'} of training."
        ),
    )


def _named(system: str) -> str:
    names = {
        PLAIN: "the same small model trained on the texts alone",
        DATASTORE: "the datastore itself (kNN-LM)",
        COUNTS: "counts of the corpus (infinity-gram)",
        ALONE: "the model alone",
    }
    return names[system]
