"""Every picture draws what it is given: no value is lost, nothing that is missing stops it, text stays text."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from analyses import figures
from analyses.figures.depth import layer_ticks, positions
from analyses.figures.drawing import save, to_svg
from analyses.figures.levels import levels
from analyses.figures.marks import chance_band
from analyses.findings.record import Finding, Level, Mark, Null, Plot, Scope, Significance

NULL = Null("gaussian", 0.22, 0.03, 0.0, (0.0, 0.0), "higher", "not significantly different from Gaussian")
HOSTILE = "</svg><script>x</script> $a$ \U0001f642 \u0645"


def family(n_layers=3, value=1.0, mean=0.2, metric="hoyer"):
    places = [("resid_post", layer) for layer in range(n_layers)] + [("final_norm", n_layers)]
    rows = tuple(Level(name, value * k, bool(k), 100, mean, mean - 0.01, mean + 0.01) for k, name in enumerate("ab"))
    return [
        Finding(
            analysis="planted", question="?", scope=Scope(axis="axis", site=site, layer=layer, metric=metric),
            estimate=0.1, interval=(0.0, 0.2), text="text", levels=rows, null=NULL,
        )
        for site, layer in places
    ]  # fmt: skip


def forest(*marks):
    return Plot("forest", "estimate", "", tuple(marks), 0.0)


PICTURES = {
    "profile": lambda: figures.profile(family()),
    "profile of sizes without intervals": lambda: figures.profile(family(mean=math.nan)),
    "levels": lambda: levels(family()[0], [np.arange(9.0), np.full(9, 0.2)]),
    "levels of few items": lambda: levels(family()[0], [np.array([0.1, np.nan]), np.empty(0)]),
    "domains": lambda: levels(family(value=math.nan)[0], [np.arange(9.0), np.arange(3.0)]),
    "overview": lambda: figures.overview({"hoyer": family(), HOSTILE: family(n_layers=2)}),
    "overview of nothing": lambda: figures.overview({"hoyer": [replace(f, estimate=math.nan) for f in family()]}),
    "effects": lambda: figures.effects(family()),
    "models": lambda: figures.across_models({"one": family(), HOSTILE: family(n_layers=5)}),
    "forest": lambda: figures.forest(forest(Mark("as measured", HOSTILE, math.nan, 0.1, math.nan, math.nan))),
    "curve": lambda: figures.curve(
        Plot(
            "curve",
            "m",
            "share",
            tuple(Mark(s, "", x, x / 64, 0.0, 1.0) for s in ("a", HOSTILE) for x in (1.0, 8.0, 64.0)),
            0.5,
        )
    ),
    "matrix": lambda: figures.matrix(
        Plot("matrix", "", "r", (Mark("a", "a", 0.0, 1.0, 1.0, 1.0), Mark("a", HOSTILE, 0.0, math.nan, 0.0, 0.0)))
    ),
    "strip": lambda: figures.strip(
        figures.Strip(["a", HOSTILE], ["resid_post.0"], np.array([[0.2, np.nan]]), "hoyer", 0.22)
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_it_draws_and_holds_no_markup_of_strangers(name):
    svg = to_svg(PICTURES[name](), label=HOSTILE, key="k")
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert "<script" not in svg


@pytest.mark.parametrize("n_layers", [3, 17, 30, 64])
def test_an_axis_of_layers_is_linear_and_its_numbers_are_layers(n_layers):
    names = [f"resid_post.{layer}" for layer in range(n_layers)] + ["final_norm"]
    marks = tuple(Mark("a", name, float(place), place / 99, 0.0, 1.0) for place, name in enumerate(names))
    figure = figures.curve(Plot("curve", "place", "effect", marks, 0.0))
    axes = figure.axes[0]
    assert axes.get_xscale() == "linear"
    ticks = dict(zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert len(ticks) <= 12
    assert all(at == int(text) for text, at in ticks.items() if text != "final\nnorm")
    assert len({b - a for a, b in pairwise(sorted(at for text, at in ticks.items() if text != "final\nnorm"))}) == 1
    connected = max((line.get_xdata() for line in axes.lines), key=len)
    assert list(connected) == list(range(n_layers))  # the norm beyond the last block is not connected


def test_a_layer_that_was_not_measured_leaves_a_gap():
    own = [replace(f, scope=replace(f.scope, layer=layer)) for f, layer in zip(family(2), (0, 20, 30), strict=True)]
    assert positions(own).tolist() == [0.0, 20.0, 21.5]


def test_an_overview_shows_each_sign_and_dots_what_is_significant():
    test = Significance("t", 0.001, 0.01)
    sure, unsure = family(2)[:2]
    own = [replace(sure, estimate=0.5, interval=(0.4, 0.6), test=test), replace(unsure, estimate=-0.5, test=test)]
    figure = figures.overview({"hoyer": own})
    (dots,) = figure.axes[0].lines
    assert list(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [(0, 0)]
    low, high = (patch.get_facecolor() for patch in figure.axes[0].patches)
    assert low[2] > low[1]  # purple: denser
    assert high[0] > high[2]  # orange: sparser


def test_a_tidied_drawing_keeps_every_word_and_number():
    svg = to_svg(
        figures.forest(forest(Mark("", 'd="1.23456" x', math.nan, 0.125, math.nan, math.nan))), label="", key="k"
    )
    assert "1.23456" in svg
    assert "<!--" not in svg
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) == set(re.findall(r' id="([^"]+)"', svg))


def test_the_band_of_chance_narrows_with_the_root_of_the_items():
    low, high = chance_band(NULL, family()[0].levels)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.03 / 10)
    assert (low + high) / 2 == pytest.approx(0.22)


def test_a_pdf_holds_text_as_truetype(tmp_path):
    save(figures.effects(family()), tmp_path / "e.pdf")
    content = (tmp_path / "e.pdf").read_bytes()
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_characters_that_no_font_has_are_told_and_others_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.figures.drawing._installed", dict)
    plot = forest(Mark("", "\u6570\u5b66 plain", math.nan, 0.1, math.nan, math.nan))
    assert save(figures.forest(plot), tmp_path / "f.png") == "\u5b66\u6570"
    assert save(figures.forest(forest(Mark("", "plain", math.nan, 0.1, 0.0, 0.2))), tmp_path / "f.png") == ""


@pytest.mark.parametrize(
    ("layers", "numbered"),
    [
        (range(6), ["0", "1", "2", "3", "4", "5"]),
        (range(30), ["0", "3", "6", "9", "12", "15", "18", "21", "24", "27"]),
        ((2, 17), ["2", "17"]),  # only some layers measured: each has its number,
        ((2, 17, 18, 32), ["2", "17", "32"]),  # as far as there is room
    ],
)
def test_layers_that_were_measured_have_their_numbers(layers, numbered):
    axes = Figure(figsize=(6, 3)).add_subplot()
    layer_ticks(axes, [f"resid_post.{layer}" for layer in layers], np.array(layers, dtype=float))
    assert [label.get_text() for label in axes.get_xticklabels()] == numbered


def test_numbers_below_a_logarithmic_axis_leave_room_for_each_other():
    marks = tuple(Mark("", "", float(step), 0.3, math.nan, math.nan) for step in range(64))
    figure = figures.curve(Plot("curve", "tokens written", "Hoyer", marks))
    figure.canvas.draw()
    boxes = sorted(label.get_window_extent().intervalx.tolist() for label in figure.axes[0].get_xticklabels())
    assert len(boxes) > 5
    assert all(before[1] < after[0] for before, after in pairwise(boxes))
