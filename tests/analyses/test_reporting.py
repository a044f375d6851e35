"""The report: self-contained, escaped, honest, and produced whatever the tables hold."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.reporting import headline
from analyses.reporting.report import write_report
from tests.analyses.sweeps import EXPOSURE, Sweep, exposure, make_sweep, merge, text_domains, with_table

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags opened and closed, and every attribute that could reach outside."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.ids, self.unbalanced = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in {"src", "href", "xlink:href", "data"}]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def read(path) -> tuple[str, Page]:
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    return text, page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rng = np.random.default_rng(0)
    sweep = merge(exposure(rng), text_domains(rng))
    folder = tmp_path_factory.mktemp("report")
    return write_report(sweep, folder / "report.html", directory="runs/a b", command="sparsity report 'runs/a b'")


def test_the_page_is_whole_and_reaches_nowhere(written):
    text, page = read(written.html)
    assert not page.unbalanced
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"""(https?:)?//(?!www\.w3\.org/)[a-z]""", re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", text))
    assert "@import" not in text
    assert "url(http" not in text


def test_every_link_inside_the_page_has_its_target_and_ids_are_unique(written):
    _, page = read(written.html)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_beside_the_page_lie_markdown_json_and_the_figures_it_shows(written):
    folder = written.html.parent
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert shown
    assert all((folder / name).is_file() for name in shown)
    listed = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert len(listed) == len(written.findings)


def test_findings_json_has_the_promised_fields(written):
    listed = json.loads((written.html.parent / "findings.json").read_text(encoding="utf-8"))
    promised = {"analysis", "question", "scope", "estimate", "unit", "interval", "n", "n_clusters", "null"}
    promised |= {"generalises_over", "controls", "verdict", "text", "reproduce"}
    for entry in listed:
        assert promised <= entry.keys()
        assert {"suite", "axis", "site", "layer", "metric"} <= entry["scope"].keys()
        assert entry["verdict"] in {"supported", "contradicted", "undecided", "described"}
        assert entry["reproduce"].startswith("sparsity report")
        if entry["test"] is not None:
            assert entry["estimate"] is not None
            assert entry["interval"][0] is not None


def test_no_verdict_where_the_interval_crosses_zero(written):
    for finding in written.findings:
        if finding.verdict in {"supported", "contradicted"}:
            low, high = finding.interval
            assert low > 0 or high < 0
            assert finding.test.p_adjusted < 0.05


def test_numbers_of_the_first_screen_are_those_of_the_primary_findings(written):
    text = headline(written.findings)
    primary = [finding for finding in written.findings if finding.primary]
    assert all(finding.text in text for finding in primary)
    assert text.count(". ") <= 2
    page = written.html.read_text(encoding="utf-8")
    assert page.index('class="says"') < page.index("<svg") < page.index("<section")


def test_domains_are_counted_by_item_in_the_headline():
    text = headline(analyse(text_domains(np.random.default_rng(1)), "domains"))
    assert "Described, not decided (3 independent domains" in text
    assert "of 3 shifted corpora are sparser than tinystories" in text


def test_one_question_gets_its_twins_in_the_headline():
    text = headline(analyse(exposure(np.random.default_rng(1)), "familiarity"))
    assert "With n_tokens held fixed" in text
    assert "mean_next_token_entropy" in text


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "</style><b>", "</title></svg>", "\x00\x1b[31m", "\u202eabc", "🙂" * 50, "x" * 5000],
)
def test_names_from_strangers_stay_text(hostile, tmp_path):
    rng = np.random.default_rng(0)
    levels = [("1", 1.0, "in"), (hostile, 0.0, "shifted")]
    sweep = make_sweep(EXPOSURE, levels, effect=lambda *_: 0.5, rng=rng, n_layers=1, metrics=("hoyer",), model=hostile)
    failures = pd.DataFrame(
        {"run_id": ["run-planted"], "example_id": ["planted:1"], "stage": ["encode"], "error": [hostile]}
    )
    sweep = with_table(sweep, failures=failures)
    found = write_report(sweep, tmp_path / "r.html", directory="d", command="sparsity report d")
    text, page = read(found.html)
    assert not page.unbalanced
    assert "script" not in page.tags
    assert page.tags.count("b") == 0
    assert text.count("</style>") == 1 + text.count('<style type="text/css">')


def empty(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[:0]


@pytest.mark.parametrize("missing", ["measurements", "outcomes", "inputs", "failures"])
def test_a_missing_table_leaves_a_report(missing, tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",))
    sweep = with_table(sweep, **{missing: empty(sweep.tables[missing])})
    found = write_report(sweep, tmp_path / "r.html", directory="d", command="sparsity report d")
    _, page = read(found.html)
    assert not page.unbalanced


def test_nothing_at_all_leaves_a_report_that_says_so(tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",))
    found = write_report(
        Sweep({name: empty(table) for name, table in sweep.tables.items()}),
        tmp_path / "r.html",
        directory="d",
        command="sparsity report d",
    )
    assert "Nothing was asked" in found.html.read_text(encoding="utf-8")


def test_one_level_leaves_a_report_that_says_why(tmp_path):
    sweep = make_sweep(EXPOSURE, [("28", 28.0, "in")], effect=lambda *_: 0.0, rng=np.random.default_rng(0))
    found = write_report(sweep, tmp_path / "r.html", directory="d", command="sparsity report d")
    assert "one level of exposure" in headline(found.findings)
    assert "one level of exposure" in found.html.read_text(encoding="utf-8")


def test_undefined_values_and_failures_are_counted_on_the_page(tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",))
    rows = sweep.tables["measurements"].copy()
    rows.loc[:6, "value"] = np.nan
    rows["n_undefined"] = 2
    failures = pd.DataFrame(
        {"run_id": "run-lab_exposure", "example_id": ["lab_exposure:1"] * 3, "stage": "encode", "error": "too long"}
    )
    found = write_report(
        with_table(sweep, measurements=rows, failures=failures), tmp_path / "r.html", directory="d", command="c"
    )
    text = found.html.read_text(encoding="utf-8")
    assert "7 values are undefined" in text
    assert "3 items failed" in text
    assert f"{2 * len(rows):,}" in text


def test_chance_is_on_every_figure_of_a_measure_of_sparsity(written):
    for path in (written.html.parent / "figures").iterdir():
        text = path.read_text(encoding="utf-8")
        if "effects" not in path.name and "measure of size" not in text and "Size, which" not in text:
            assert "chance" in text, path.name
