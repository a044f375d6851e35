"""Tables and order of the page: one unit per table, no empty column, nothing lost, no figure stale."""

import json
import math
from dataclasses import replace

from matplotlib.figure import Figure

from analyses.findings.record import Control, Effect, Finding, Level, Mark, Null, Plot, Scope, Significance
from analyses.reporting.grids import contrast_grids, facts, trend_grid
from analyses.reporting.pictures import Studio
from analyses.reporting.sections import tokens
from analyses.reporting.sections.arrangement import answer_picture, arrange, contents
from analyses.reporting.sections.body import _overlaid
from analyses.reporting.selection import select
from tests.analyses.sweeps import Sweep


def finding(group="", *, site="final_norm", unit="Cliff's delta", estimate=0.5, **more):
    scope = Scope(
        model="m", suite=more.pop("suite", "s"), site=site, group=group, position=more.pop("position", "last")
    )
    more = {"analysis": "planted", "question": "?", "text": f"text of {group}", "interval": (0.1, 0.9)} | more
    return Finding(scope=scope, unit=unit, estimate=estimate, n=9, n_clusters=9, **more)


def headings(grid):
    return [column.name for column in grid.columns]


def test_a_column_that_no_row_fills_is_not_there():
    bare = trend_grid([finding(), finding(site="resid_post")], "s")
    assert headings(bare) == ["items"]
    tested = finding(
        test=Significance("t", 0.1, 0.2),
        null=Null("gaussian", 0.2, 0.1, 0.1, (0, 1), "higher", "not significantly different from Gaussian"),
    )
    assert headings(trend_grid([finding(), tested], "s")) == ["items", "p, adjusted", "mean against Gaussian null"]


def adjusted(name, estimate):
    return Control(name, "pre_treatment", estimate, (0.1, 0.9), 0.0)


def test_a_covariate_that_only_says_the_estimate_again_has_no_column():
    own = [finding("a", controls=(adjusted("a", 0.5),)), finding("b", controls=(adjusted("b", 0.4),))]
    (grid,) = contrast_grids(own, "final_norm", "s")
    assert headings(grid) == ["adjusted for b", "items"]


def test_a_table_of_few_rows_that_is_wider_than_a_screen_is_turned():
    effects = tuple(Effect(f"effect {number}", 0.1, (0.0, 0.2)) for number in range(8))
    wide = [finding(effects=effects), finding(site="resid_post", effects=effects)]
    assert trend_grid(wide, "s").turned
    assert not trend_grid(wide * 5, "s").turned
    assert not trend_grid([finding(), finding(site="resid_post")], "s").turned


def test_a_level_that_is_a_bare_number_says_of_which_axis():
    levels = [finding("7"), finding("easy")]
    levels = [replace(level, scope=replace(level.scope, axis="objects")) for level in levels]
    (grid,) = contrast_grids(levels, "final_norm", "s")
    assert [row.label for row in grid.rows] == ["objects 7", "easy"]


def test_each_unit_has_its_table_and_units_of_one_row_share_one():
    findings = [finding("a"), finding("b"), finding("c", unit="given c"), finding("d", unit="given d")]
    together, alone = contrast_grids(findings, "final_norm", "s")
    assert [row.label for row in together.rows] == ["a", "b"]
    assert [row.label for row in alone.rows] == ["c", "d"]
    assert "estimate is" in headings(alone)
    share = [
        finding("a", unit="delta, + = sparser, a held fixed"),
        finding("b", unit="delta, + = sparser, b held fixed"),
    ]
    (grid,) = contrast_grids(share, "final_norm", "s")
    assert grid.about == "Estimate: delta, + = sparser."
    assert [row.cells[0] for row in grid.rows] == ["a held fixed", "b held fixed"]
    assert "estimate is" not in headings(together)
    assert together.title != alone.title


def test_other_places_stand_apart_and_say_which():
    here, elsewhere = contrast_grids(
        [finding("a"), finding("b"), finding("a", site="resid_post"), finding("b", site="resid_mid")], "final_norm", "s"
    )
    assert "place" not in headings(here)
    assert [row.cells[0] for row in elsewhere.rows] == ["resid_post", "resid_mid"]


def test_rows_are_summed_by_verdict_and_range():
    grid = trend_grid(
        [finding(estimate=0.1, verdict="supported"), finding(site="resid_post", estimate=-0.3, verdict="undecided")],
        "s",
    )
    assert grid.summed == "1 supported, 1 undecided: from \N{MINUS SIGN}0.30 (resid_post) to +0.10 (final_norm)."


def test_effects_named_after_their_rows_share_a_column():
    findings = [
        finding(name, effects=(Effect(f"rank correlation with {name}", 0.2, (0.1, 0.3)),)) for name in ("nll", "length")
    ]
    (grid,) = contrast_grids(findings, "final_norm", "s")
    assert headings(grid)[0] == "rank correlation with it"
    assert [row.cells[0] for row in grid.rows] == ["+0.20 [+0.10, +0.30]"] * 2
    separated = finding(
        "a", effects=(Effect("detectable", math.nan, (math.nan, math.nan), "n/a (complete separation)"),)
    )
    (grid,) = contrast_grids([separated], "final_norm", "s")
    assert (headings(grid)[0], grid.rows[0].cells[0]) == ("detectable", "n/a (complete separation)")
    numbered = finding("0", effects=(Effect("detectable with 80 % power", 0.2, (math.nan, math.nan)),))
    assert headings(contrast_grids([numbered], "final_norm", "s")[0])[0] == "detectable with 80 % power"


def test_what_stands_beside_a_lead_without_a_table():
    effects = (Effect("coordinates", 3.0, (math.nan, math.nan)), Effect("d", 0.8, (0.5, 1.1)))
    controls = (
        Control("n_tokens", "pre_treatment", 0.4, (0.2, 0.6), 0.1),
        Control("nll", "mediator", 0.1, (0.01, 0.2), 0.9),
    )
    assert facts(finding(effects=effects, controls=controls)) == [
        ("coordinates", "3"),
        ("d", "+0.80 [+0.50, +1.10]"),
        ("adjusted for n_tokens", "+0.40 [+0.20, +0.60]"),
        ("adjusted for nll (mediator)", "+0.10 [+0.01, +0.20]"),
    ]


def test_what_was_not_pre_stated_goes_to_the_answer_it_says_more_about(tmp_path):
    lead = finding(primary=True)
    other_position = finding(position="all")
    claim = finding("claim", analysis="replication", suite="s")
    whole = finding(analysis="replication", suite="", position="", primary=True)
    silent = finding(analysis="silent", estimate=math.nan, text="Not answered: no table")
    sections, silences = arrange([lead, other_position, claim, whole, silent], Sweep({}), Studio(tmp_path))
    assert [section.analysis for section in sections] == ["replication", "planted"]
    replication, planted = sections
    assert [len(grid.rows) for grid in planted.body.grids] == [2]
    assert [row.label for grid in replication.body.grids for row in grid.rows] == ["claim, s"]
    assert [(silence.title, silence.reasons) for silence in silences] == [("Silent: s", ["Not answered: no table"])]
    assert contents(sections) == [("Replication", [(1, "")]), ("Planted", [(2, "s")])]


def test_curves_of_single_groups_share_a_sheet():
    points = tuple(Mark("far end", name, 0.0, 0.1, 0.0, 0.2) for name in ("resid_post.0", "final_norm"))
    own = [finding(group, plot=Plot("curve", "layer", "d", points, 0.0)) for group in "ab"]
    (sheet,) = _overlaid(own)
    assert [mark.series for mark in sheet.plot.marks] == ["a", "a", "b", "b"]


def test_a_person_reads_the_pre_stated_measure_everywhere_and_others_at_its_place():
    level = Level("a", 0.0, False, 9, 0.2, 0.1, 0.3)

    def measured(metric, site, group="", **more):
        made = finding(group, site=site, levels=(level,), **more)
        return replace(made, scope=replace(made.scope, metric=metric))

    told = [
        measured("hoyer", "final_norm", primary=True), measured("hoyer", "resid_post"), measured("gini", "final_norm"),
        measured("hoyer", "final_norm", "code"), finding("no levels"),
    ]  # fmt: skip
    cells = [
        measured("gini", "resid_post"), measured("hoyer", "resid_post", "code"), measured("gini", "final_norm", "code"),
        measured("hoyer", "resid_post", position="all"),
    ]  # fmt: skip
    assert select([*told, *cells]) == (told, cells)


def test_sections_of_one_question_are_told_apart_in_the_contents(tmp_path):
    sections, _ = arrange([finding(primary=True), finding(primary=True, suite="t")], Sweep({}), Studio(tmp_path))
    assert contents(sections) == [("Planted", [(1, "s"), (2, "t")])]


def test_what_sums_up_several_suites_comes_first_and_is_its_own_answer(tmp_path):
    pooled = finding(
        site="", suite="2 suites", position="", plot=Plot("forest", "x", "", (Mark("", "s", 0.0, 1.0, 0.0, 2.0),), 0.0)
    )
    found = [finding(primary=True), finding(primary=True, suite="t"), pooled]
    sections, _ = arrange(found, Sweep({}), Studio(tmp_path))
    assert [section.suite for section in sections] == ["2 suites", "s", "t"]
    assert sections[0].lead is pooled
    assert answer_picture(sections, found[:2]) is None  # no average over suites on the first screen
    assert answer_picture(sections, [pooled]) is sections[0].body.pictures[0]


def test_figures_of_an_earlier_report_are_removed_and_those_of_others_stay(tmp_path):
    (tmp_path / "mine.svg").write_text("kept")
    for name in ("first-1", "second-1"):
        studio = Studio(tmp_path)
        studio.draw(name, Figure, label="l", caption=f"caption of {name}")
        studio.close()
    assert {path.name for path in tmp_path.glob("*.svg")} == {"mine.svg", "second-1.svg"}
    assert json.loads((tmp_path / "captions.json").read_text()) == {"second-1.svg": "caption of second-1"}


def test_a_list_of_figures_that_names_files_elsewhere_removes_none(tmp_path):
    (tmp_path / "kept.svg").write_text("kept")
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "captions.json").write_text(json.dumps({"../kept.svg": "", "kept.txt": "", "": ""}))
    Studio(folder)
    assert (tmp_path / "kept.svg").exists()


def test_the_last_token_of_a_cut_text_gets_one_word_and_no_novel():
    assert tokens._pieces("a bc def ghi", [-1, 0, 1, 4]) == ["", "a", " bc", " def"]
    (first, last) = tokens._pieces("y" + "x" * 100_000, [0, 1])
    assert first == "y"
    assert 0 < len(last) <= tokens.LONGEST_TOKEN
