"""Specs: what is written is what is meant, and what is wrong is said in one line."""

from pathlib import Path

import pytest
import yaml

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import BenchmarkSuite
from probes.suites.shifts.noise import NoiseShift
from probes.suites.text_domains import TextDomains
from probes.sweep.spec import SweepSpec, load_spec, parse_spec

GOOD = {"models": ["some/model"], "suites": ["lab_exposure"]}


def test_defaults_are_written_out_with_versions(tmp_path: Path) -> None:
    spec = parse_spec(GOOD, folder=tmp_path)
    assert spec.metrics[:3] == ("gini@1", "hoyer@1", "top_k_energy(0.05)@1")
    assert spec.sites == ("resid_post", "final_norm")
    assert spec.positions == ("last",)


def test_outcomes_follow_the_positions(tmp_path: Path) -> None:
    assert parse_spec({**GOOD, "positions": "mean"}, folder=tmp_path).outcomes == (
        "nll",
        "next_token_entropy",
        "mean_next_token_entropy",
    )
    assert parse_spec({**GOOD, "positions": "mean", "outcomes": "nll"}, folder=tmp_path).outcomes == ("nll",)


def test_a_resolved_spec_gives_the_same_sweep_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    content = {
        **GOOD,
        "models": ["model", {"name": "hub/name", "revision": "main", "dtype": "bfloat16"}],
        "suites": [
            "lab_exposure",
            {"file": "mine.jsonl", "name": "mine", "level": "steps"},
            "mmlu",
            {"name": "gsm8k", "file": "tasks/gsm8k.jsonl", "limit": 5},
            {"hub": "HuggingFaceH4/MATH-500", "name": "math", "prompt": "problem", "level": "level"},
            {"name": "noisy", "shift": "typos", "of": {"file": "mine.jsonl"}, "matched": True, "filler": "neutral.txt"},
            {"name": "crowded", "shift": "choice_count", "levels": [2, 5], "of": "mmlu"},
            {"name": "worded", "shift": "wording", "of": {"hub": "a/b", "prompt": "q"}},
            {"name": "text_domains", "in": {"home": "home.jsonl"}, "shifted": {"far": {"file": "f.txt", "passage": 9}}},
        ],
        "metrics": "gini",
    }
    spec = parse_spec(content, folder=tmp_path)
    assert spec.models[0].name == str(tmp_path / "model")
    assert spec.models[1].name == "hub/name"
    (tmp_path / "elsewhere").mkdir()
    written = tmp_path / "elsewhere" / "sweep.yaml"
    written.write_text(spec.to_yaml())
    benchmark = spec.suites[3]
    assert isinstance(benchmark, BenchmarkSuite)
    assert benchmark.file == str(tmp_path / "tasks" / "gsm8k.jsonl")
    assert load_spec(written) == spec
    # what the command line does to override a limit
    assert SweepSpec.model_validate(spec.model_dump(by_alias=True)) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrcs": "default"}, "unknown key 'metrcs', did you mean 'metrics'"),
        ({"models": []}, "models should be a list with at least one entry"),
        ({"models": [{"name": "m", "revison": "x"}]}, r"models\.0\.revison"),
        ({"suites": [{"name": "lab_exposure", "limt": 3}]}, "unknown key 'limt', did you mean 'limit'"),
        ({"suites": [{"file": "x.jsonl"}]}, "name: field required"),
        ({"suites": [{"file": "x.jsonl", "name": "a:b"}]}, "name: string should match pattern"),
        ({"suites": [{"name": "gsm8k", "fil": "x"}]}, "benchmark 'gsm8k': unknown key 'fil', did you mean 'file'"),
        ({"suites": [{"hub": "a/b", "name": "x", "revison": "c"}]}, "unknown key 'revison', did you mean 'revision'"),
        ({"suites": ["lab_exposure", "lab_exposure"]}, "two suites are called 'lab_exposure'"),
        ({"metrics": ["ginni"]}, "did you mean 'gini'"),
        ({"metrics": ["top_k_energy(2)"]}, "top_k_energy expects fraction"),
        ({"metrics": ["gini", "gini"]}, "asked for twice"),
        ({"outcomes": ["nil"]}, "unknown outcome 'nil', did you mean 'nll'"),
        ({"limit": 0}, "limit: input should be greater than or equal to 1"),
        ({"bos": "perhaps"}, "bos: input should be 'auto', 'add' or 'none'"),
    ],
)
def test_faults_are_one_clear_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        parse_spec({**GOOD, **change}, folder=tmp_path)
    assert "\n" not in str(raised.value)


def test_an_unknown_suite_suggests_the_nearest(tmp_path: Path) -> None:
    spec = parse_spec({**GOOD, "suites": ["lab_expsure"]}, folder=tmp_path)
    with pytest.raises(InputError, match="did you mean 'lab_exposure'"):
        spec.suites[0].suite()


def test_yaml_is_data_only(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("models: !!python/object/apply:os.system ['true']\nsuites: [x]\n")
    with pytest.raises(InputError, match="is not YAML"):
        load_spec(path)
    path.write_text("models: [m\n")
    with pytest.raises(InputError, match="is not YAML"):
        load_spec(path)
    path.write_text(yaml.safe_dump([1, 2]))
    with pytest.raises(InputError, match="should be a mapping"):
        load_spec(path)
    with pytest.raises(InputError, match="cannot read the spec"):
        load_spec(tmp_path / "nowhere.yaml")


def test_yaml_means_what_people_mean(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "models: [m]\n"
        "suites:\n"
        "  - {name: books, in: {no: a.txt, on: b.txt}, shifted: {2024-01-01: c.txt, 1.50: d.txt}, shifts: []}\n"
        "  - {name: noisy, shift: typos, levels: [0, 5e-2], matched: yes, of: {file: a.txt}}\n"
        "seed: 010\n"
    )
    spec = load_spec(path)
    books, noisy = spec.suites
    assert isinstance(books, TextDomains)
    assert (list(books.inside), list(books.shifted)) == (["no", "on"], ["2024-01-01", "1.50"])
    assert isinstance(noisy, NoiseShift)
    assert (noisy.levels, noisy.matched, spec.seed) == ((0.0, 0.05), True, 10)
    (tmp_path / "again.yaml").write_text(spec.to_yaml())
    assert load_spec(tmp_path / "again.yaml") == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suites: [x]\nmodels: [m]\nsuites: [y]\n", "the key 'suites' is written twice, in lines 1 and 3"),
        ("models: [m]\nsuites:\n  - {in: {a: x, a: y}}\n", "the key 'a' is written twice, in lines 3 and 3"),
        ("models: [m]\nsuites: [{name: t, in: {a: x}, shifted: {a: y}}]\n", "two domains are called 'a'"),
        ("models: [m]\nsuites: [{name: t, in: {random_bytes: x}}]\n", "two domains are called 'random_bytes'"),
        (
            "models: [m]\nsuites: [{name: t, file: x.csv, level: elo}]\n",
            "suite 't': axis 'elo' is none of `sparsity list axes`; say `harder: higher` or `harder: lower`",
        ),
    ],
)
def test_what_would_vanish_or_stay_open_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        load_spec(tmp_path / "spec.yaml")
    assert "\n" not in str(raised.value)
