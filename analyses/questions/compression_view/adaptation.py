"""Adaptation: how much shorter does the code of a model get along a chunk?

A model reads every chunk from an empty context on, so what it needs for a byte falls as it learns from the chunk
itself what it is of. `sparsity compression` writes bits per byte by position; per kind of data the first stretch is put
beside the last. Limits: few chunks, all of one sample of files; intervals are over chunks.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from analyses.data.compression_tables import POSITIONS
from analyses.data.runs import Run
from analyses.data.written_tables import written
from analyses.findings.formatting import shown
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis

QUESTION: Final = "How much shorter does a model's code get along a chunk?"
UNIT: Final = "bits per byte of the first 128 bytes of a chunk less those of the last, positive = shorter later"
NAN: Final = float("nan")
NOTHING: Final = (NAN, NAN)
NEEDED: Final = ("modality", "chunk", "position", "bits_per_byte")


@analysis(QUESTION, order=5, title="Adaptation along a chunk", counted="chunks")
def adaptation(run: Run) -> list[Finding]:
    """Answer for every model whose code lengths by position lie beside the sweeps."""
    return [
        _along(model, table.reindex(columns=[*NEEDED, "bits_low", "bits_high", "n_chunks"]))
        for model, table in written(run, POSITIONS).items()
        if set(NEEDED) <= set(table.columns) and table["bits_per_byte"].notna().any()
    ]


def _along(model: str, table: pd.DataFrame) -> Finding:
    """Bits per byte against position for every kind, each in its longest chunks."""
    rows = table[table["bits_per_byte"].notna()]
    rows = rows[rows["chunk"] == rows.groupby("modality")["chunk"].transform("max")]
    marks = tuple(
        Mark(str(kind), "", position + 64.0, bits, low, high)
        for kind, position, bits, low, high in rows[
            ["modality", "position", "bits_per_byte", "bits_low", "bits_high"]
        ].itertuples(index=False, name=None)
    )
    ends = {
        str(kind): (float(own["bits_per_byte"].iloc[0]), float(own["bits_per_byte"].iloc[-1]))
        for kind, own in rows.sort_values("position").groupby("modality", sort=False)
    }
    first, last = next(iter(ends.values()))
    n = int(rows["n_chunks"].max()) if rows["n_chunks"].notna().any() else 0
    told = ", ".join(f"{kind} {begin:.2f} to {end:.2f}" for kind, (begin, end) in ends.items())
    return Finding(
        analysis="adaptation",
        question=QUESTION,
        scope=Scope(model=model, axis="modality", metric="bits per byte"),
        estimate=first - last,
        interval=NOTHING,
        unit=UNIT,
        quantity="difference of bits per byte",
        n=n,
        n_clusters=n,
        generalises_over="domains",
        effects=tuple(Effect(f"in {kind}", begin - end, NOTHING, of=kind) for kind, (begin, end) in ends.items()),
        verdict="described",
        plot=Plot("curve", "byte of the chunk", f"bits per byte of {shown(model or 'the model')}", marks, 8.0),
        text=(
            f"From the first stretch of 128 bytes of a chunk to the last, bits per byte go from {told}; 8 are what the "
            "bytes themselves take. One sample, so nothing is decided."
        ),
    )
