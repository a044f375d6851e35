"""README and documentation are executed: every command, spec and snippet, in its order, offline and in one folder.

Blocks of `text` are shown and not run; the page says why. A spec of a page that names no models is asked of the shipped
one.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
import yaml

from analyses.cli import main
from probes.cli import app
from sparsity import METRICS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/concepts/*.md")), *sorted(ROOT.glob("docs/howto/*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
UNDERSTOOD = (
    "lab train",
    "lab twins",
    "demo",
)  # minutes to an hour: to be understood is enough here
ELSEWHERE = ("git", "make", "pip")
STORY = "Once upon a time there was a little girl. She went to the park and saw a dog."
QUICK = {"controls": "none"}  # the sweep of the README has them

SMALL = {"models": ["lab-reference"], "suites": ["lab_exposure"], "limit": 4} | QUICK


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "bash"):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines())


SPECS = [(page, number) for page in PAGES for number in range(len(blocks(page, "yaml")))][1:]
SNIPPETS = [(page, code) for page in PAGES for code in blocks(page, "python")]


def name(entry: object) -> str:
    return f"{entry.stem}" if isinstance(entry, Path) else str(entry).splitlines()[0][:40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of, small."""
    at = tmp_path_factory.mktemp("readme")

    def lines(name: str, rows: list[dict[str, object]]) -> None:
        (at / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    lines("stories.jsonl", [{"text": f"{STORY} It was day {i}."} for i in range(8)])
    lines("train.jsonl", [{"text": f"{STORY} She had {i} apples."} for i in range(30)])
    lines("corpus.jsonl", [{"text": f"{STORY} The end, said number {i}."} for i in range(8)])
    (at / "corpus.txt").write_text("\n\n".join(f"{STORY} {i}" for i in range(400)), encoding="utf-8")
    solution = "She has <<2+3=5>>5 and <<5+1=6>>6.\n#### 6"
    lines("gsm8k.jsonl", [{"question": f"{STORY} How many of {i}?", "answer": solution} for i in range(6)])
    lines("tasks.jsonl", [{"question": f"What is {i} and 1?", "answer": str(i + 1), "steps": i % 3} for i in range(9)])
    lines(
        "mmlu_pro.jsonl",
        [
            {
                "question_id": i,
                "question": f"Which is {i}?",
                "options": [str(i + k) for k in range(8)],
                "answer": "A",
                "answer_index": 0,
                "category": "math",
            }
            for i in range(4)
        ],
    )
    (at / "rated.csv").write_text("q,elo\n" + "".join(f"Is {i} odd?,{1000 + i}\n" for i in range(6)), encoding="utf-8")
    (at / "quiz.csv").write_text(
        'question,options,label\nWhat is red?,"[""apple"", ""sky""]",A\nWhat is blue?,"[""apple"", ""sky""]",B\n',
        encoding="utf-8",
    )
    (at / "books").mkdir()
    for name in ("one", "two"):
        (at / "books" / f"{name}.txt").write_text("\n".join(f"{STORY} {name} {i}" for i in range(90)), encoding="utf-8")
    return at


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], int]:
    """Run a command line in the folder, as a shell would."""
    monkeypatch.chdir(folder)

    def call(line: str) -> int:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr().err
        assert left.value.code in (0, 1, None), said
        return int(left.value.code or 0)

    return call


def test_every_command_runs(run: Callable[[str], int], folder: Path) -> None:
    known = typer.main.get_command(app)
    ran = 0
    for page, line in ((own, line) for own in PAGES for line in commands(own)):
        if page != README:
            (folder / "sweep.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
        first = line.split()[0]
        if first in ELSEWHERE:
            continue
        assert first == "sparsity", line
        if line.startswith(tuple(f"sparsity {slow}" for slow in UNDERSTOOD)):
            _understood(known, shlex.split(line)[1:])
        else:
            assert run(line) == 0, line
        ran += 1
    assert ran > 15


def _understood(command: object, words: list[str]) -> None:
    """Walk down to the command that the words name and let it read its options, without running it."""
    context = command.make_context("sparsity", list(words))
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, words, parent=context)


def test_the_first_spec_is_the_one_that_init_writes(run: Callable[[str], int], folder: Path) -> None:
    run("sparsity init first.yaml")
    assert blocks(README, "yaml")[0] == (folder / "first.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "number"), SPECS, ids=name)
def test_every_other_spec_runs(page: Path, number: int, run: Callable[[str], int], folder: Path) -> None:
    spec = yaml.safe_load(blocks(page, "yaml")[number])
    assert spec["suites"]
    path = folder / f"{page.stem}-{number}.yaml"
    path.write_text(yaml.safe_dump({"models": ["lab-reference"]} | spec | QUICK), encoding="utf-8")
    if "corpora" in str(spec) and not (folder / "corpus.index").exists():
        pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")
        run("sparsity index build corpus.jsonl --out corpus.index")
    if "frozen" in str(spec) and not (folder / "exposure.jsonl").exists():
        run("sparsity init frozen.yaml")
        run("sparsity freeze frozen.yaml lab_exposure --out exposure.jsonl")
    assert run(f"sparsity sweep {path} --out runs/{path.stem} --limit 2") in (0, 1)


@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=name)
def test_every_snippet_runs(page: Path, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS.items()))  # a page adds a metric, for as long as it runs
    exec(compile(code, page.name, "exec"), {"__name__": page.stem})  # noqa: S102  the snippet is ours


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_says_so(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not blocks(page, "text") or "not run" in text
    assert {language for language, _ in BLOCK.findall(text)} <= {"bash", "python", "text", "yaml"}
