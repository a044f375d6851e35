"""Rates: a model is put beside the best codec of each kind of data, and nothing is decided from one sample."""

import pandas as pd
import pytest

from analyses import analyse
from analyses.data.written_tables import beside
from probes.compression.table import COLUMNS


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
    image, audio = analyse(beside(None, {"rates": {"m": table(model)}}), "rates")
    assert (image.scope.suite, audio.scope.suite) == ("image", "audio")
    assert image.estimate == pytest.approx(0.5 - model)
    assert audio.estimate == pytest.approx(0.3 - model)
    assert {image.verdict, audio.verdict} == {"described"}
    assert "WebP, the best of its codecs, 50 %" in image.text


def test_a_table_of_something_else_is_not_asked() -> None:
    assert analyse(beside(None, {"rates": {"m": pd.DataFrame({"a": [1]})}}), "rates") == []
    assert analyse(beside(None, {"rates": {"m": table(0.4).query("kind != 'model'")}}), "rates") == []
    assert set(table(0.4).columns) <= set(COLUMNS)
