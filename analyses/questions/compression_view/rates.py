"""Rates: does a model of text compress pictures and sound better than the codecs that are made for them?

`sparsity compression` writes the rate of every compressor on every kind of data, each from streams that were read
again. A model reads chunks, so codecs are given the same chunks, the longest that there are, and their header is
counted once, as the paper counts it (arXiv:2309.10668). Per kind: the rate of the best codec of that kind less the
model's. Pre-stated are pictures and sound; text, code and random bytes stand beside them.

The same command writes bits per byte by position. A model reads every chunk from an empty context on, so what it needs
for a byte falls as it learns from the chunk itself what it is of: the first stretch is put beside the last.

Intervals are Student's over chunks, each coded by both. Which codec is the best is read off the same chunks, which
helps the codec. Chunks of a few files are the sample, and the interval speaks of chunks like these; below six, and of a
table without the bytes of each chunk, nothing is decided.

Limits. The weights of the model are not counted; beside them no sample of this size could be compressed.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from analyses.data.compression_tables import POSITIONS, RATES
from analyses.data.runs import Run
from analyses.data.written_tables import written
from analyses.findings.contrast import judge
from analyses.findings.formatting import percent, shown, with_interval
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from analyses.statistics.groups import average

QUESTION: Final = "Does a model of text compress pictures and sound better than their own codecs?"
MEDIA: Final = {"image": ("PNG", "WebP", "JPEG XL"), "audio": ("FLAC",)}
BYTES: Final = ("gzip", "LZMA2", "bz2", "zstd", "zstd, trained dictionary", "PPMd")
CODECS: Final = {**MEDIA, "text": BYTES, "code": BYTES, "random": BYTES}
EACH: Final = "bytes_of_each"
FEWEST: Final = 6  # chunks
UNIT: Final = "rate of the best codec of its kind less the model's, positive = the model needs fewer bytes"
ALONG: Final = "How much shorter does a model's code get along a chunk?"
SHORTER: Final = "bits per byte of the first 128 bytes of a chunk less those of the last, positive = shorter later"
BY_POSITION: Final = ("modality", "chunk", "position", "bits_per_byte")
NAN: Final = float("nan")
NOTHING: Final = (NAN, NAN)


@analysis(QUESTION, order=5, title="Rates of compression", counted="chunks")
def rates(run: Run) -> list[Finding]:
    """Answer for every kind of data that has codecs of its own, in every table that lies beside the sweeps."""
    needed = {"compressor", "kind", "modality", "chunk", "rate", "rate_header_once", "n_chunks"}
    findings: list[Finding] = []
    for model, table in written(run, RATES).items():
        if needed <= set(table.columns):
            found = [_of_kind(model, table[table["modality"] == kind], kind) for kind in CODECS]
            findings += [finding for finding in found if finding is not None]
    return findings


def _of_kind(model: str, rows: pd.DataFrame, kind: str) -> Finding | None:
    """The model beside the best codec of a kind; None where either is missing."""
    own = rows[rows["kind"] == "model"]
    if own.empty:
        return None
    longest = int(own["chunk"].astype(int).max())
    rows, own = rows[rows["chunk"] == longest], own[own["chunk"] == longest]
    codecs = rows[rows["compressor"].isin(CODECS[kind])]
    if codecs.empty:
        return None
    rate, n = float(own["rate"].iloc[0]), int(own["n_chunks"].iloc[0])
    best = codecs.sort_values("rate_header_once").iloc[:1]
    codec, name = float(best["rate_header_once"].iloc[0]), str(best["compressor"].iloc[0])
    every = rows[rows["kind"] != "model"].sort_values("rate_header_once")
    marks = [Mark("", shown(model or "the model"), NAN, rate, *NOTHING)]
    marks += [
        Mark("", str(compressor), NAN, float(value), *NOTHING)
        for compressor, value in zip(every["compressor"], every["rate_header_once"], strict=True)
    ]
    interval = _over_chunks(best, own, codec - rate)
    known = math.isfinite(interval[0])
    said = with_interval(codec - rate, interval) + ("" if known else ", of too few chunks to decide")
    return Finding(
        analysis="rates",
        question=QUESTION,
        scope=Scope(model=model, suite=kind, axis="modality", metric="rate"),
        primary=kind in MEDIA,
        estimate=codec - rate,
        interval=interval,
        unit=UNIT,
        quantity="difference of rates",
        n=n,
        n_clusters=n,
        effects=(Effect("rate of the model", rate, NOTHING), Effect(f"rate of {name}", codec, NOTHING, of=name)),
        verdict=judge(interval) if known else "described",
        plot=Plot("forest", f"bytes of decoded streams per byte of {kind}", "", tuple(marks), 1.0),
        text=(
            f"On {n:,} chunks of {kind} the model needs {percent(rate, NOTHING)} of the bytes, and {name}, the best "
            f"of its codecs, {percent(codec, NOTHING)}: a difference of {said}."
        ),
    )


def _over_chunks(codec: pd.DataFrame, model: pd.DataFrame, difference: float) -> tuple[float, float]:
    """Student's 95 % interval around a difference of rates, over the chunks that both coded; NaN of too few."""
    if EACH not in codec:
        return NOTHING
    of_codec, of_model = (
        np.array([float(one) for one in str(row[EACH].iloc[0]).split()]) / float(row["chunk"].iloc[0])
        for row in (codec, model)
    )
    if not FEWEST <= len(of_codec) == len(of_model):
        return NOTHING
    saved = average(of_codec - of_model)
    half = (saved.interval[1] - saved.interval[0]) / 2
    return difference - half, difference + half


@analysis(ALONG, order=5, title="Adaptation along a chunk", counted="chunks")
def adaptation(run: Run) -> list[Finding]:
    """Answer for every model whose code lengths by position lie beside the sweeps."""
    return [
        _along(model, table.reindex(columns=[*BY_POSITION, "bits_low", "bits_high", "n_chunks"]))
        for model, table in written(run, POSITIONS).items()
        if set(BY_POSITION) <= set(table.columns) and table["bits_per_byte"].notna().any()
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
        question=ALONG,
        scope=Scope(model=model, axis="modality", metric="bits per byte"),
        estimate=first - last,
        interval=NOTHING,
        unit=SHORTER,
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
