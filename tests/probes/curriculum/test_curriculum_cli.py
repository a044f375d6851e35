"""The command: what cannot be used is one line, an item's prompt is printed as it is asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from probes.cli import app, at_the_edge
from tests.probes.curriculum.conftest import NOUNS, rows

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Write a spec with changes and give the command to it; status, and what it printed."""
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows(30))))
    entry = {"file": "items.jsonl", "name": "words", "id": "id", "answer": "answer", "choices": "options"}
    content = {
        "models": [str(tiny_model)],
        "pool": entry,
        "n_pool": 8,
        "n_questions": 2,
        "seeds": 1,
        "near": 4,
        "levels": 2,
        "retrieval": "states",
        "gap": " ",
        "arms": ["random", "sparsity"],
    }

    def command(*arguments: str, **changes: object) -> tuple[int, str, str]:
        spec = tmp_path / "spec.yaml"
        spec.write_text(yaml.safe_dump({key: value for key, value in {**content, **changes}.items() if value != ""}))
        with pytest.raises(SystemExit) as left:
            at_the_edge(lambda: app(["curriculum", str(spec), "--out", str(tmp_path / "out"), *arguments]))
        told = capsys.readouterr()
        return int(left.value.code or 0), told.out, told.err

    return command


def test_a_comparison_runs_and_shows_any_of_its_prompts(run: Run) -> None:
    status, _, told = run("--limit", "1")
    assert status == 0, told
    assert "1 questions" in told
    assert "2 arms (random, sparsity)" in told
    shown = run("--show", "nothing")
    assert (shown[0], len(shown[2].splitlines())) == (2, 1)
    name = shown[2].rpartition("instance, ")[2].split(",")[0]
    status, printed, _ = run("--show", name)
    assert status == 0
    assert printed.splitlines()[0] == name
    assert [line[2:] for line in printed.splitlines()[-4:]] == list(NOUNS)
    assert sum(line.startswith("* ") for line in printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("k is 9 and n_pool 8", {"k": 9}),
        ("k is 6 and near 4", {"k": 6}),
        ("named twice", {"k": [2, 2]}),
        ("pools_per_question is 2 and seeds 1, all pools", {"pools_per_question": 2}),
        ("a pool of 29 is asked for beside 2 questions, and 28 items", {"n_pool": 29}),
        ("unknown arm 'sparsety', did you mean 'sparsity'?", {"arms": ["sparsety"]}),
        ("needs measures of familiarity", {"arms": ["familiarity"]}),
        ("two arms are called 'random'", {"arms": ["random", "random"]}),
        ("policy nearest knows no score", {"arms": [{"name": "a", "policy": "nearest", "score": "loss"}]}),
        ("policy matched needs a score", {"arms": [{"name": "a"}]}),
        ("unknown score 'los', did you mean 'loss'?", {"arms": [{"name": "a", "score": "los"}]}),
        ("unknown policy 'best'", {"arms": [{"name": "a", "policy": "best", "score": "loss"}]}),
        ("written like 'hoyer at final_norm'", {"sparsity": "hoyer"}),
        ("unknown site 'finalnorm'", {"sparsity": "hoyer at finalnorm"}),
        ("measures size, not sparsity", {"sparsity": "l2_norm at final_norm"}),
        ("names no layer", {"sparsity": "hoyer at resid_post"}),
        ("pool should say where", {"pool": ""}),
        ("unknown key 'n_pol', did you mean 'n_pool'?", {"n_pol": 3}),
    ],
)
def test_what_cannot_be_used_is_one_line(run: Run, tmp_path: Path, said: str, changes: dict[str, object]) -> None:
    status, _, told = run(**changes)
    assert (status, len(told.splitlines())) == (2, 1), told
    assert said in told
    assert not list(tmp_path.glob("out/items/curriculum*"))


def test_a_score_that_no_item_has_makes_no_levels(run: Run) -> None:
    status, _, told = run("--limit", "1", arms=["difficulty"])
    assert status == 2
    assert (
        told.splitlines()[-1] == "sparsity: arm 'difficulty': no item of the pool has this score, so it makes no levels"
    )
    told = run("--limit", "1", arms=["difficulty_paper_as_run"])[2]
    assert told.splitlines()[-1] == (
        "sparsity: arm 'difficulty_paper_as_run': 2 levels need 2 items with a score, and the pool has 0"
    )
