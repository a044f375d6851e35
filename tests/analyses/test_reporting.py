"""The report: self-contained, escaped, honest, and produced whatever the tables hold."""

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pandas as pd
import pytest

from analyses import analyse
from analyses.findings.record import Finding, Scope, Verdict
from analyses.reporting import headline
from analyses.reporting.exports import LATEX
from analyses.reporting.sections.headline import leads, sentences
from analyses.reporting.selection import select
from analyses.reporting.writing import write_report
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
    return write_report(sweep, folder / "report.html", directories=["runs/a b"], command="sparsity report 'runs/a b'")


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
    told, cells = select(written.findings)
    listed = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert [entry["text"] for entry in listed] == [finding.text for finding in told]
    rows = list(csv.DictReader(io.StringIO((folder / "findings.csv").read_text(encoding="utf-8"))))
    assert len(rows) == len(told) + len(cells) == len(written.findings)
    assert 0 < len(cells) < len(rows)


def test_findings_json_is_what_its_schema_says(written):
    folder = written.html.parent
    schema = json.loads((folder / "findings.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((folder / "findings.json").read_text(encoding="utf-8")), schema)
    fields = schema["items"]["properties"]
    assert {"schema_version", *Finding.__dataclass_fields__} <= set(fields)
    assert set(fields["scope"]["properties"]) == set(Scope.__dataclass_fields__)


def test_latex_has_one_kind_of_estimate_a_table_and_says_its_unit(written):
    text = (written.html.parent / "findings.tex").read_text(encoding="utf-8")
    tables = re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL)
    units = {finding.unit for finding in written.findings if finding.primary and finding.answered}
    assert len(tables) == len(units)
    assert all("Estimate: " in table for table in tables)


def test_findings_json_has_the_promised_fields(written):
    listed = json.loads((written.html.parent / "findings.json").read_text(encoding="utf-8"))
    promised = {"analysis", "question", "scope", "estimate", "unit", "interval", "n", "n_clusters", "null"}
    promised |= {"generalises_over", "controls", "verdict", "text", "reproduce"}
    for entry in listed:
        assert promised <= entry.keys()
        assert {"suite", "axis", "site", "layer", "metric"} <= entry["scope"].keys()
        assert entry["verdict"] in set(get_args(Verdict))
        assert entry["reproduce"].startswith("sparsity report")
        if entry["test"] is not None:
            assert entry["estimate"] is not None
            assert entry["interval"][0] is not None


def test_no_verdict_where_the_interval_crosses_zero(written):
    for finding in written.findings:
        if finding.verdict in {"supported", "contradicted"}:
            low, high = finding.interval
            assert low > 0 or high < 0
            assert finding.test is None or finding.test.p_adjusted < 0.05


def test_numbers_of_the_first_screen_are_those_of_the_primary_findings(written):
    text = headline(written.findings)
    assert leads(written.findings)
    ordered, domains = leads(written.findings)
    assert ordered.text in text
    place = {"site": domains.scope.site, "layer": domains.scope.layer, "position": "mean", "metric": "hoyer"}
    single = [
        finding.verdict
        for finding in written.findings
        if finding.analysis == "domains" and finding.scope.group
        if all(getattr(finding.scope, key) == value for key, value in place.items())
    ]
    assert len(single) == 3
    sparser = single.count("significantly positive")
    assert f"{sparser} of 3 domains {'is' if sparser == 1 else 'are'} sparser" in text
    assert len(sentences(written.findings)) <= 5
    page = written.html.read_text(encoding="utf-8")
    assert page.index('class="says"') < page.index("<svg") < page.index("<section")


def test_domains_are_counted_by_item_in_the_headline():
    text = headline(analyse(text_domains(np.random.default_rng(1)), "domains"))
    assert "Descriptive only: 3 independent domains are too few" in text
    assert "Against tinystories, over items and adjusted for length" in text


def test_one_question_gets_its_twins_in_the_headline():
    text = headline(analyse(exposure(np.random.default_rng(1)), "familiarity"))
    assert "djusted for length" in text
    assert "mean_next_token_entropy" in text


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><b>",
    "</title></svg><img src=x onerror=alert(1)>",
    "\x00\x1b[31m red",
    "\u202eabc\u2066",
    "\u0645\u0631\u062d\u0628\u0627",
    "\U0001f642" * 50,
    "x" * 100_000,
    "=HYPERLINK(1)",
    "[click](javascript:x) ![i](http://x)|`",
    "\\input{/etc/passwd} $x$ & %",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A report of a sweep whose model, suite, axis, levels, errors and texts all come from strangers."""
    rng = np.random.default_rng(0)
    levels = [(name, float(place), "in") for place, name in enumerate(HOSTILE)]
    axis = replace(EXPOSURE, name=HOSTILE[0], unit=HOSTILE[1])
    sweep = make_sweep(
        axis, levels, effect=lambda *_: 0.3, rng=rng, n_layers=1, metrics=("hoyer",), model=HOSTILE[2],
        suite=HOSTILE[1], n_per_level=12,
    )  # fmt: skip
    failures = pd.DataFrame({"run_id": sweep.runs()["run_id"][0], "example_id": HOSTILE, "stage": "encode"})
    sweep = with_table(sweep, failures=failures.assign(error=HOSTILE))
    folder = tmp_path_factory.mktemp("hostile")
    return write_report(sweep, folder / "r.html", directories=[HOSTILE[0]], command=HOSTILE[0], notes=HOSTILE)


def test_names_from_strangers_stay_text(hostile):
    text, page = read(hostile.html)
    assert not page.unbalanced
    assert page.tags.count("script") == 1
    assert not {"b", "img"} & set(page.tags)
    assert text.count("</style>") == 1
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", text)
    assert "\u0645\u0631\u062d\u0628\u0627" in text
    assert "&lt;script&gt;" in text


def test_only_our_script_may_run_and_nothing_may_load(hostile):
    text, _ = read(hostile.html)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src &#39;none&#39;" in policy
    assert f"script-src &#39;sha256-{digest}&#39;" in policy


def test_figures_of_strangers_names_are_whole_svg(hostile):
    paths = list((hostile.html.parent / "figures").glob("*.svg"))
    assert paths
    for path in paths:
        tags = {element.tag.rpartition("}")[2] for element in ET.parse(path).iter()}  # noqa: S314  our own files
        assert not {"script", "b", "img", "image", "foreignObject"} & tags


def test_markdown_of_strangers_names_draws_no_image_and_makes_no_link(hostile):
    text = (hostile.html.parent / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"(?<!\\)!\[[^\]]*\]\((?!figures/)", text) == []
    assert "](javascript" not in text.replace("\\](", "")
    assert not [line for line in text.splitlines() if "<script" in line and not line.startswith("    ")]  # but code
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows if "encode" in line}) <= 1


def test_csv_of_strangers_names_holds_no_formula_and_one_row_per_finding(hostile):
    rows = list(csv.reader(io.StringIO((hostile.html.parent / "findings.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 1 + len(hostile.findings)
    assert {len(row) for row in rows} == {len(rows[0])}
    cells = [cell for row in rows[1:] for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=@" and cell]
    assert not [cell for cell in cells if cell[:1] in ("+", "-") and not _is_number(cell)]


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_latex_of_strangers_names_runs_no_command(hostile):
    text = (hostile.html.parent / "findings.tex").read_text(encoding="utf-8")
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert commands <= {"usepackage", "begin", "end", "toprule", "midrule", "bottomrule", "multicolumn"} | {
        name.strip("\\{}") for name in LATEX.values() if name.startswith("\\text")
    }
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def empty(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[:0]


@pytest.mark.parametrize("missing", [("measurements",), ("inputs",), ("outcomes", "failures")], ids="+".join)
def test_a_missing_table_leaves_a_report(missing, tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",), n_per_level=6)
    sweep = with_table(sweep, **{name: empty(sweep.tables[name]) for name in missing})
    found = write_report(sweep, tmp_path / "r.html", directories=["d"], command="sparsity report d")
    _, page = read(found.html)
    assert not page.unbalanced


def test_nothing_at_all_leaves_a_report_that_says_so(tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",), n_per_level=6)
    found = write_report(
        Sweep({name: empty(table) for name, table in sweep.tables.items()}),
        tmp_path / "r.html",
        directories=["d"],
        command="sparsity report d",
    )
    assert "Nothing was asked" in found.html.read_text(encoding="utf-8")


def test_one_level_leaves_a_report_that_says_why(tmp_path):
    sweep = make_sweep(EXPOSURE, [("28", 28.0, "in")], effect=lambda *_: 0.0, rng=np.random.default_rng(0))
    found = write_report(sweep, tmp_path / "r.html", directories=["d"], command="sparsity report d")
    assert "one level of exposure" in headline(found.findings)
    assert "one level of exposure" in found.html.read_text(encoding="utf-8")


def test_undefined_values_and_failures_are_counted_on_the_page(tmp_path):
    sweep = exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer",), n_per_level=6)
    rows = sweep.tables["measurements"].copy()
    rows.loc[:6, "value"] = np.nan
    rows["n_undefined"] = 2
    failures = pd.DataFrame(
        {"run_id": "run-lab_exposure", "example_id": ["lab_exposure:1"] * 3, "stage": "encode", "error": "too long"}
    )
    found = write_report(
        with_table(sweep, measurements=rows, failures=failures), tmp_path / "r.html", directories=["d"], command="c"
    )
    text = found.html.read_text(encoding="utf-8")
    assert f"7 of {len(rows):,} values are undefined or not finite" in text
    assert "3 items failed" in text
    assert f"{2 * len(rows):,}" in text


def test_the_null_is_on_every_figure_of_values(written):
    sizes = {"measure of size", "Size, which"}
    for path in (written.html.parent / "figures").iterdir():
        text = path.read_text(encoding="utf-8")
        if re.search("profile|levels", path.name) and not any(word in text for word in sizes):
            assert "Gaussian" in text, path.name
