"""The command line: results on stdout, one line per fault on stderr, and the exit status says which."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from analyses.cli import main
from probes.records import open_run
from tests.probes.conftest import MakeSpec


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sparsity", *map(str, arguments)])
    with pytest.raises(SystemExit) as raised:
        main()
    return int(raised.value.code or 0)


@pytest.fixture
def spec_file(make_spec: MakeSpec, tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(make_spec().to_yaml())
    return path


def test_sweep_then_sweep_again(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert command(monkeypatch, "sweep", spec_file, "--out", out, "--limit", 1) == 0
    assert capsys.readouterr().err.endswith("6 items measured, 0 failed\n")
    assert command(monkeypatch, "sweep", spec_file, "--out", out) == 0
    assert capsys.readouterr().err.endswith("1 items measured, 0 failed\n")
    assert len(open_run(out).examples()) == 7


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "sweep", spec_file, "--out", tmp_path / "run", "--dry-run") == 0
    assert "tokens to read" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_settings_go_before_the_spec(spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("--set", "sites=[final_norm]", "--set", "metrics=gini", "--seed", 3, "--dtype", "bfloat16")
    assert command(monkeypatch, "sweep", spec_file, "--out", tmp_path / "run", *settings) == 0
    records = open_run(tmp_path / "run")
    rows = records.measurements()
    assert (set(rows["site"]), set(rows["metric"])) == ({"final_norm"}, {"gini"})
    assert (list(records.runs()["seed"]), list(records.runs()["dtype"])) == ([3], ["bfloat16"])


def test_failed_items_give_status_1(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(make_spec(n=26).to_yaml())
    assert command(monkeypatch, "sweep", path, "--out", tmp_path / "run") == 1
    assert "failed" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "nowhere.yaml", "--out", "run"], "cannot read the spec nowhere.yaml"),
        (
            ["sweep", "SPEC", "--out", "run", "--dtype", "int3"],
            "dtype: input should be 'float32', 'bfloat16', 'float16' or 'int8'",
        ),
        (["sweep", "SPEC", "--out", "run", "--set", "sits=[resid_post]"], "unknown key 'sits', did you mean 'sites'"),
        (["sweep", "SPEC", "--out", "run", "--set", "sites"], "--set should be key=value"),
        (["sweep", "SPEC", "--out", "run", "--batch-size", "0"], "--batch-size should be auto"),
        (["measure", "no/such/model", "--text", "x"], "no/such/model"),
        (["measure", "MODEL"], "either --text or --file"),
        (["measure", "MODEL", "--file", "bad.txt"], "not UTF-8"),
        (["measure", "MODEL", "--file", "empty.txt"], "empty"),
        (["measure", "MODEL", "--text", ""], "empty prompt"),
        (["measure", "MODEL", "--text", "the cat", "--metrics", "hoyr"], "did you mean 'hoyer'"),
        (["measure", "MODEL", "--text", "the cat", "--position", "fist"], "unknown position 'fist'"),
        (["measure", "MODEL", "--text", "the cat", "--generate", "30"], "3 tokens and 30 new ones"),
        (["report", "nowhere"], "not a sweep directory"),
    ],
)
def test_unusable_input_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    spec_file: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_bytes(b"\xff\xfe\xff")
    Path("empty.txt").write_text(" \n")
    known = {"SPEC": spec_file, "MODEL": tiny_model}
    assert command(monkeypatch, *(known.get(argument, argument) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert not Path("run").exists()


def test_measure_prints_a_row_per_layer_and_chance(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "measure", tiny_model, "--text", "the cat sat", "--metrics", "hoyer l2_norm") == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert [row[0] for row in rows if len(row) == 3 and "." in row[1]] == ["resid_post.0", "resid_post.1", "final_norm"]
    assert "Gaussian, d=16" in printed


def test_a_shipped_model_has_a_short_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    for dtype in ("float32", "bfloat16"):
        options = ("--text", "a b", "--metrics", "hoyer", "--device", "cpu", "--dtype", dtype)
        assert command(monkeypatch, "measure", "lab-reference", *options) == 0
        shown.append(capsys.readouterr().out)
    assert "lab-reference" in shown[0]
    assert shown[0] != shown[1], "half precision rounds the states"


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"sparsity {version('activation-sparsity')}\n"


def test_measure_prints_a_row_per_token_that_the_model_writes(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("measure", tiny_model, "--text", "the cat sat", "--metrics", "hoyer", "--generate", "5")
    assert command(monkeypatch, *arguments, "--seed", "1") == 0
    drawn = capsys.readouterr().out
    rows = [line.split() for line in drawn.splitlines() if "'" in line]
    assert [row[0] for row in rows] == ["4", "5", "6", "7", "8"]
    assert all(0 <= float(row[-1]) <= 1 for row in rows)
    assert command(monkeypatch, *arguments, "--seed", "1") == 0
    assert capsys.readouterr().out == drawn
    assert command(monkeypatch, *arguments, "--seed", "2") == 0
    assert capsys.readouterr().out != drawn


def test_measure_takes_a_precision_and_a_device(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    for options in ((), ("--dtype", "float32", "--device", "cpu"), ("--dtype", "bfloat16")):
        assert (
            command(monkeypatch, "measure", tiny_model, "--text", "the cat sat", "--metrics", "l2_norm", *options) == 0
        )
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]
    assert command(monkeypatch, "measure", tiny_model, "--text", "the cat sat", "--dtype", "float8") == 2
    assert command(monkeypatch, "measure", tiny_model, "--text", "the cat sat", "--device", "tpu") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_measure_may_put_the_prompt_into_a_chat_template(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chatty = tmp_path / "chatty"
    shutil.copytree(tiny_model, chatty)
    tokenizer = AutoTokenizer.from_pretrained(chatty)
    tokenizer.chat_template = "{% for m in messages %}<s>one {{ m.content }} two{% endfor %}"
    tokenizer.save_pretrained(chatty)
    shown: list[str] = []
    for text, template, position in (
        ("one the cat sat two", "none", "prompt"),
        ("the cat sat", "chat", "prompt"),
        ("the cat sat", "chat", "mean"),  # the user's text alone
    ):
        options = ("--text", text, "--template", template, "--metrics", "hoyer", "--position", position)
        assert command(monkeypatch, "measure", chatty, *options) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]
    assert command(monkeypatch, "measure", chatty, "--text", "the", "--template", "chatty") == 2


@pytest.mark.parametrize("what", ["metrics", "suites", "sites", "familiarity", "analyses"])
def test_lists_are_not_empty(what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "list", what) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_an_index_is_built_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")
    (tmp_path / "corpus.jsonl").write_text('{"text": "the cat sat on the mat"}\n{"text": "a cat sat on the tree"}\n')
    assert command(monkeypatch, "index", "build", tmp_path / "corpus.jsonl", "--out", tmp_path / "index") == 0
    assert "2 documents" in capsys.readouterr().out
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "corpus.jsonl").rename(data / "train.jsonl")
    assert command(monkeypatch, "index", "build", "--hub", data, "--out", tmp_path / "same") == 0
    assert "2 documents" in capsys.readouterr().out
    facts = [json.loads((tmp_path / name / "index.json").read_text()) for name in ("index", "same")]
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]
    assert command(monkeypatch, "index", "build", "--hub", data, "--field", "x", "--out", tmp_path / "none") == 2
    assert "field 'x'" in capsys.readouterr().err
    assert command(monkeypatch, "index", "build", "--out", tmp_path / "none") == 2
    assert not (tmp_path / "none").exists()
    assert command(monkeypatch, "index", "query", tmp_path / "index", "my cat sat on the sofa", "--shortest", 8) == 0
    shown = capsys.readouterr().out
    assert "my cat sat on the sofa" in shown
    assert "2 times in 2 documents: ' cat sat on the '" in shown
    assert "16 of 22 bytes stand in spans of 8 bytes or more" in shown
    assert command(monkeypatch, "index", "query", tmp_path / "index", "on the mat!") == 0
    shown = capsys.readouterr().out  # nothing of 11 bytes, which are all that there is; what there is, is said
    assert shown.splitlines()[-1].startswith("0 of 11 bytes stand in spans of 11 bytes or more")
    assert "its longest match is 10 bytes" in shown
    assert command(monkeypatch, "index", "query", tmp_path / "index", "the cat sat") == 0
    assert "1 times in 1 documents: 'the cat sat'" in capsys.readouterr().out
    assert command(monkeypatch, "index", "query", tmp_path / "index", "") == 2
    assert command(monkeypatch, "index", "query", tmp_path / "nowhere", "x") == 2
    (tmp_path / "empty.txt").write_text("")
    assert command(monkeypatch, "index", "build", tmp_path / "empty.txt", "--out", tmp_path / "other") == 2
    assert not (tmp_path / "other").exists()
