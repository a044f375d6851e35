"""Rates: a model is put beside the best codec of each kind of data, with an interval over the same chunks."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.data.written_tables import beside
from analyses.reporting import report
from probes.compression.scaling import COLUMNS as SCALING_COLUMNS
from probes.compression.table import COLUMNS, POSITION_COLUMNS
from probes.errors import InputError

T_OF_11 = 2.201  # Student's quantile, 95 %, 11 degrees of freedom


def table(model: float) -> pd.DataFrame:
    rates = {"m": model, "PNG": 0.6, "WebP": 0.5, "FLAC": 0.3, "gzip": 0.9}
    rows = [
        {"compressor": name, "kind": "model" if name == "m" else "classical", "modality": kind, "chunk": chunk,
         "n_chunks": 4, "rate": rate + (0.1 if name != "m" else 0), "rate_header_once": rate}
        for kind in ("image", "audio", "text") for chunk in (2048, 0) for name, rate in rates.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("model", [0.4, 0.8])
def test_a_model_is_put_beside_the_best_codec_of_a_kind(model: float) -> None:
    found = {one.scope.suite: one for one in analyse(beside(None, {"rates": {"m": table(model)}}), "rates")}
    image, audio = found["image"], found["audio"]
    assert {kind for kind, one in found.items() if one.primary} == {"image", "audio"}
    assert found["text"].estimate == pytest.approx(0.9 - model)  # gzip is the only compressor of bytes here
    assert image.estimate == pytest.approx(0.5 - model)
    assert audio.estimate == pytest.approx(0.3 - model)
    assert {image.verdict, audio.verdict} == {"described"}
    assert "WebP, the best of its codecs, 50 %" in image.text


def each(model: float, *, n_chunks: int = 12, spread: float = 0.02) -> pd.DataFrame:
    """The same rates with those of every chunk, around what each compressor needs."""
    rng, rows = np.random.default_rng(3), table(model).assign(n_chunks=n_chunks)
    drawn = (2048 * (rate + spread * rng.normal(size=n_chunks)) for rate in rows["rate_header_once"])
    return rows.assign(bytes_of_each=[" ".join(f"{one:.1f}" for one in own) for own in drawn])


@pytest.mark.parametrize(
    ("model", "verdicts"),
    [
        (0.2, ["supported", "supported"]),
        (0.4, ["supported", "contradicted"]),
        (0.495, ["undecided", "contradicted"]),
    ],
)
def test_a_difference_is_decided_by_its_interval_over_chunks(model: float, verdicts: list[str]) -> None:
    found = [one for one in analyse(beside(None, {"rates": {"m": each(model)}}), "rates") if one.primary]
    assert [one.verdict for one in found] == verdicts
    width = 2 * T_OF_11 * 0.02 * np.sqrt(2 / 12)  # of a difference of two
    assert [one.interval[1] - one.interval[0] for one in found] == [pytest.approx(width, rel=0.7)] * 2
    few = [one for one in analyse(beside(None, {"rates": {"m": each(model, n_chunks=5)}}), "rates") if one.primary]
    assert {one.verdict for one in few} == {"described"}


def test_the_longest_chunks_of_the_model_are_what_is_compared() -> None:
    short = table(0.8)[table(0.8)["chunk"] == 2048].assign(chunk=256)
    short.loc[short["compressor"] == "m", "rate"] = 0.7
    (image,) = (one for one in analyse(beside(None, {"rates": {"m": short}}), "rates") if one.scope.suite == "image")
    assert image.estimate == pytest.approx(0.5 - 0.7)


def positions() -> pd.DataFrame:
    """Text gets shorter by four bits, sound by none; in chunks of 256 both have other values, which are not read."""
    rows = [
        ("m", kind, chunk, start, 9.0 if chunk == 256 else 6 - fall * start / 384, 3.0, 7.0, 4)
        for kind, fall in (("text", 4), ("audio", 0))
        for chunk in (256, 512)
        for start in range(0, chunk, 128)
    ]
    return pd.DataFrame(rows, columns=list(POSITION_COLUMNS))


def test_bits_by_position_are_told_for_every_kind() -> None:
    (found,) = analyse(beside(None, {"positions": {"m": positions()}}), "adaptation")
    assert found.estimate == pytest.approx(4)
    assert {effect.of: effect.estimate for effect in found.effects} == pytest.approx({"text": 4, "audio": 0})
    assert found.plot is not None
    assert [(mark.x, mark.value) for mark in found.plot.marks if mark.series == "text"] == [
        (64.0 + start, pytest.approx(6 - 4 * start / 384)) for start in (0, 128, 256, 384)
    ]
    old = positions().drop(columns=["bits_low", "bits_high", "n_chunks"])
    assert analyse(beside(None, {"positions": {"m": old}}), "adaptation")[0].estimate == pytest.approx(4)


def scaling() -> pd.DataFrame:
    """Two sizes: the weights of the larger pay for themselves on much data and not on little."""
    rows = [
        (size, "model", n_bytes, n, 4 * n, 9, 9, 9, rate, rate - 0.01, rate + 0.01, rate + 4 * n / n_bytes)
        for n_bytes in (10**5, 10**7)
        for size, n, rate in (("0.01M", 10_000, 0.6), ("0.1M", 100_000, 0.4))
    ]
    other = [("PPMd", "classical", 10**7, 0, 0, 1, 9, 9, 0.25, np.nan, np.nan, 0.25)]
    return pd.DataFrame([*rows, *other], columns=list(SCALING_COLUMNS))


def test_the_best_size_grows_with_the_data() -> None:
    found = analyse(beside(None, {"scaling": {"": scaling()}}), "adjusted")
    little, much, plain = found
    assert little.estimate == pytest.approx(0.6 + 0.4)
    assert (much.primary, much.estimate) == (True, pytest.approx(0.4 + 0.04))
    assert much.interval == pytest.approx((0.43, 0.45))
    assert "0.1M weights has the lowest" in much.text
    assert "PPMd, the best classical compressor, takes 0.250" in much.text
    assert much.plot is not None
    assert [(mark.series, mark.x) for mark in much.plot.marks][-1] == ("10,000,000 bytes", 100_000.0)
    assert plain.plot is not None


def test_folders_of_both_commands_make_a_report(tmp_path: Path) -> None:
    rates, sizes = tmp_path / "rates", tmp_path / "sizes"
    for folder, task, tables in (
        (
            rates,
            {"models": {"/at/m": "0"}, "kinds": ["text"], "limit": 4},
            {"rates": table(0.4), "positions": positions()},
        ),
        (sizes, {"files": ["a b.txt"], "steps": 9}, {"scaling": scaling()}),
    ):
        folder.mkdir()
        (folder / "task.json").write_text(json.dumps(task))
        for name, frame in tables.items():
            frame.replace("m", "/at/m").to_csv(folder / f"{name}.csv", index=False)
    written = report([rates, sizes])
    assert {finding.analysis for finding in written.findings} >= {"rates", "adaptation", "adjusted"}
    page = written.html.read_text(encoding="utf-8")
    assert "sparsity compression --model /at/m --kind text --limit 4 --out" in page
    assert "--size 0.01M --size 0.1M --bytes 100000 --bytes 10000000 --steps 9 --out" in page
    assert page.count("<svg") == 3 + 1 + 2  # rates of three kinds, one curve, two of sizes
    with pytest.raises(InputError):
        report([tmp_path])


def test_a_table_of_something_else_is_not_asked() -> None:
    assert analyse(beside(None, {"rates": {"m": pd.DataFrame({"a": [1]})}}), "rates") == []
    assert analyse(beside(None, {"rates": {"m": table(0.4).query("kind != 'model'")}}), "rates") == []
    assert set(table(0.4).columns) <= set(COLUMNS)
