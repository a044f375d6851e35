"""The README is executed: every command, every spec and every snippet, in its order, offline and in one folder."""

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
from probes.commands.spec_file import FIRST_SPEC

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
SLOW = ("lab train", "lab twins")  # minutes and an hour: that the command is understood is all that is asked here
ELSEWHERE = ("git", "make")
STORY = "Once upon a time there was a little girl. She went to the park and saw a dog."


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands() -> Iterator[str]:
    for block in blocks("bash"):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the README speaks of, small."""
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


def test_every_command_runs(run: Callable[[str], int]) -> None:
    known = typer.main.get_command(app)
    ran = 0
    for line in commands():
        first = line.split()[0]
        if first in ELSEWHERE:
            continue
        assert first == "sparsity", line
        if line.startswith(tuple(f"sparsity {slow}" for slow in SLOW)):
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


def test_the_first_spec_is_the_one_that_init_writes() -> None:
    assert blocks("yaml")[0] == FIRST_SPEC


@pytest.mark.parametrize("index", range(1, len(blocks("yaml"))))
def test_every_other_spec_runs(index: int, run: Callable[[str], int], folder: Path) -> None:
    path = folder / f"spec-{index}.yaml"
    path.write_text(blocks("yaml")[index], encoding="utf-8")
    if "corpus.index" in path.read_text(encoding="utf-8"):
        pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")
        if not (folder / "corpus.index").exists():
            run("sparsity index build corpus.jsonl --out corpus.index")
    status = run(f"sparsity sweep {path} --out runs/spec-{index} --limit 2")
    assert status in (0, 1)
    assert len(yaml.safe_load(path.read_text(encoding="utf-8"))["suites"]) > 0


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_every_snippet_runs(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  the snippet is ours
