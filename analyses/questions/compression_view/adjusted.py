"""Adjusted rates: how large may a model be before its weights cost more than they save?

`sparsity scaling` trains byte-level models of several sizes on the first bytes of a text. A model is sent along with
what it codes, so its weights are counted against all the data that it was trained on: the rate falls with the size of
the model and the weights grow with it, and the more data there is, the larger is the best model (arXiv:2309.10668).
Limits: one training per size, one text; intervals are over chunks of the data and not over trainings.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from analyses.data.compression_tables import SCALING
from analyses.data.runs import Run
from analyses.data.written_tables import written
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis

QUESTION: Final = "How large may a model be before its weights cost more than they save?"
UNIT: Final = "compressed bytes per byte, weights counted"
NEEDED: Final = (
    *("compressor", "kind", "n_bytes", "n_weights", "rate", "rate_low", "rate_high"),
    *("n_chunks", "adjusted_rate"),
)


@analysis(QUESTION, order=5, title="Adjusted rates", counted="chunks")
def adjusted(run: Run) -> list[Finding]:
    """Answer for every size of data of the tables that lie beside the sweeps."""
    findings: list[Finding] = []
    for label, table in written(run, SCALING).items():
        models = table[table["kind"] == "model"] if set(NEEDED) <= set(table.columns) else table.iloc[:0]
        most = models["n_bytes"].max()
        for n_bytes, own in models.groupby("n_bytes"):
            others = table[(table["kind"] == "classical") & (table["n_bytes"] == n_bytes)]
            findings.append(_best(label, own, others, _adjusted(models) if n_bytes == most else None))
        findings += [_weightless(label, _plain(models))] if len(models) else []
    return findings


def _best(label: str, own: pd.DataFrame, others: pd.DataFrame, plot: Plot | None) -> Finding:
    """The size with the lowest adjusted rate for some data, beside the smallest and the largest."""
    best = own.sort_values("adjusted_rate").iloc[0]
    n_bytes = int(best["n_bytes"])
    beside = "; ".join(
        f"{size} weights take {adjusted:.3f} (streams alone {rate:.3f})"
        for size, adjusted, rate in own[["compressor", "adjusted_rate", "rate"]].itertuples(index=False, name=None)
    )
    codec = ""
    if len(others):
        least = others.sort_values("rate").iloc[0]
        codec = f" {least['compressor']}, the best classical compressor, takes {least['rate']:.3f}."
    half = (float(best["rate_high"]) - float(best["rate_low"])) / 2
    estimate = float(best["adjusted_rate"])
    return Finding(
        analysis="adjusted",
        question=QUESTION,
        scope=Scope(model=label, metric="adjusted rate", group="" if plot else f"{n_bytes:,} bytes"),
        primary=plot is not None,
        estimate=estimate,
        interval=(estimate - half, estimate + half),
        unit=UNIT,
        quantity="rate",
        n=int(best["n_chunks"]),
        n_clusters=int(best["n_chunks"]),
        effects=tuple(
            Effect(f"adjusted rate of {size}", float(value), (float("nan"), float("nan")), of=str(size))
            for size, value in own[["compressor", "adjusted_rate"]].itertuples(index=False, name=None)
        ),
        verdict="described",
        plot=plot,
        text=(
            f"For {n_bytes:,} bytes of text the model of {best['compressor']} weights has the lowest adjusted rate: "
            f"{beside}.{codec}"
        ),
    )


def _weightless(label: str, plot: Plot) -> Finding:
    """The same without weights, for the figure."""
    return Finding(
        analysis="adjusted",
        question=QUESTION,
        scope=Scope(model=label, metric="rate"),
        unit=UNIT,
        verdict="described",
        plot=plot,
        text="Without its weights a larger model takes fewer bytes, as far as it was trained long enough.",
    )


def _adjusted(models: pd.DataFrame) -> Plot:
    more = models["adjusted_rate"] - models["rate"]
    shifted = models.assign(
        rate=models["adjusted_rate"], rate_low=models["rate_low"] + more, rate_high=models["rate_high"] + more
    )
    return _curve(shifted, "compressed bytes per byte, weights counted")


def _plain(models: pd.DataFrame) -> Plot:
    return _curve(models, "compressed bytes per byte without weights")


def _curve(models: pd.DataFrame, label: str) -> Plot:
    marks = tuple(
        Mark(f"{n_bytes:,} bytes", "", float(n_weights), rate, low, high)
        for n_bytes, n_weights, rate, low, high in models[
            ["n_bytes", "n_weights", "rate", "rate_low", "rate_high"]
        ].itertuples(index=False, name=None)
    )
    return Plot("curve", "weights of the model", label, marks, 1.0)
