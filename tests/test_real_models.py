"""The page on real models says what its rows say; no model is needed to check that."""

import math
from pathlib import Path

import pandas as pd

from tests.real_models import MODELS, alike, interval, missing, other_measures, sentences, suites, table

ROW = {
    "analysis": "difficulty",
    "model": next(iter(MODELS)),
    "suite": "gsm8k",
    "axis": "steps",
    "site": "final_norm",
    "layer": 30,
    "position": "mean",
    "basis": "raw",
    "metric": "hoyer",
    "group": "",
    "primary": True,
    "estimate": 0.4,
    "low": 0.2,
    "high": 0.6,
    "quantity": "rank correlation",
    "n": 80,
    "length_adjusted": 0.1,
    "length_low": -0.1,
    "length_high": 0.3,
    "unit": "rank correlation, positive = sparser where harder",
    "levels": "0.210, 0.230",
    "null": 0.2,
    "entropy_adjusted": math.nan,
    "entropy_low": math.nan,
    "entropy_high": math.nan,
    "verdict": "undecided",
}


def frame(*changes):
    return pd.DataFrame([{**ROW, **change} for change in changes])


def test_sentences_count_the_rows():
    rows = frame(
        {},
        {
            "suite": "arc",
            "verdict": "contradicted",
            "estimate": -0.4,
            "low": -0.6,
            "high": -0.2,
            "length_adjusted": -0.3,
            "length_low": -0.5,
            "length_high": -0.1,
        },
        {
            "site": "resid_post",
            "layer": 15,
            "primary": False,
            "verdict": "significantly positive",
            "length_adjusted": math.nan,
            "length_low": math.nan,
            "length_high": math.nan,
        },
    )
    first, second, third, _ = sentences(rows)
    assert "Of 2 pre-stated tests" in first
    assert "1 undecided" in first
    assert "1 contradicted" in first
    assert "sparser where harder or shifted in 0 and denser in 1 after the final norm" in second
    assert "sparser in 1 and denser in 0 in the middle block" in second
    assert third.startswith("Of 2 rows whose interval excludes zero, 1 no longer do")


def test_a_row_of_the_table_has_the_cells_of_its_heading():
    heading, rule, *rows = table(frame({}, {"length_adjusted": math.nan, "length_low": math.nan}))
    assert {line.count("|") for line in (heading, rule, *rows)} == {heading.count("|")}
    assert interval(-0.104, 0.2) == "[\N{MINUS SIGN}0.10, +0.20]"
    assert "\N{EN DASH}" in rows[1]


def test_the_last_sentence_names_where_the_models_agree_and_oppose_each_other():
    one, other = MODELS
    up, down = "significantly positive", "significantly negative"
    told = {
        "both": ("final_norm", up, up),
        "down": ("final_norm", down, down),
        "split": ("final_norm", up, down),
        "half": ("final_norm", up, "not significant"),
        "middle": ("resid_post", up, down),
    }
    rows = frame(
        *(
            {"suite": "texts", "group": group, "site": site, "model": model, "verdict": verdict}
            for group, (site, *verdicts) in told.items()
            for model, verdict in zip((one, other), verdicts, strict=True)
        )
    )
    said = alike(rows)
    assert "sparser on texts both; denser on texts down." in said
    assert said.endswith("significantly on texts middle.")


def test_other_measures_stand_beside_each_other_and_sizes_do_not():
    heading, _, row = other_measures(
        frame(
            {"verdict": "significantly positive"},
            {"metric": "gini", "estimate": -0.2},
            {"metric": "l2", "unit": "rank correlation, positive = larger where harder"},
        )
    )
    assert heading.endswith("| hoyer | gini |")
    assert row.endswith("| **+0.40** | \N{MINUS SIGN}0.20 |")


def test_what_was_not_measured_is_said():
    names = [suite["name"] for suite in suites(Path())]
    every = frame(*({"model": model, "suite": name} for model in MODELS for name in names))
    assert missing(every) == ""
    assert missing(every[every["suite"] != "babi"]).count("babi on") == len(MODELS)
