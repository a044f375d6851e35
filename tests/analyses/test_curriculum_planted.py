"""The command and its question on a model whose answers are a known function of its examples.

The model is a stand-in whose head is replaced: it knows every answer, and gives it where the world says so. In the
planted world that is where the example right before the question has the question's difficulty; in the bare one it is
chance, whatever was shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from transformers import AutoTokenizer

from analyses import analyse
from analyses.findings.record import Finding
from probes.cli import app, at_the_edge
from probes.models import LoadedModel
from probes.records import open_run
from tests import samples

NOUNS, VERBS = ("cat", "dog", "mat", "tree"), ("sat", "ran", "saw")  # the verb is the difficulty
NUMBERS = ("one", "two", "three", "four", "five", "six")
POOLS = 2
QUESTION, EXAMPLE = 4, 5  # tokens, an example with its answer
ARMS = ("random", "similarity", "sparsity", "loss", "shuffled", "difficulty")
Knows = Callable[[Sequence[int]], bool]
Compare = Callable[[Knows], list[Finding]]


def items() -> list[dict[str, Any]]:
    """One item for each subject, verb and number; the answer is any of the nouns."""
    every = [(noun, verb, number) for noun in NOUNS for verb in VERBS for number in NUMBERS]
    return [
        {
            "id": f"{index}",
            "text": f"the {noun} {verb} {number}",
            "answer": NOUNS[index * 7 % 4],
            "options": list(NOUNS),
            "level": VERBS.index(verb),
        }
        for index, (noun, verb, number) in enumerate(every)
    ]


def verb_of(ids: Sequence[int], back: int) -> int:
    """The verb of the question (0) or of an example before it; ids end with the question."""
    return ids[-EXAMPLE * back - 2]


def same_difficulty(ids: Sequence[int]) -> bool:
    return len(ids) > QUESTION + 1 and verb_of(ids, 0) == verb_of(ids, 1)


def chance(ids: Sequence[int]) -> bool:
    return hashlib.sha256(bytes(ids)).digest()[0] < 128


@pytest.fixture
def compare(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Run the command on a model that knows its answers where it should, and answer the question."""
    token: dict[str, int] = cast("Any", AutoTokenizer).from_pretrained(tiny_model).get_vocab()
    answers = {tuple(token[word] for word in str(item["text"]).split()): token[item["answer"]] for item in items()}
    run = LoadedModel.run

    def remember(self: LoadedModel, batch: Any, *, keep: bool = False) -> Any:
        output = run(self, batch, keep=keep)
        output.last_hidden_state.read = batch.ids
        return output

    def command(knows: Knows) -> list[Finding]:
        def logits(self: LoadedModel, output: Any, rows: torch.Tensor) -> torch.Tensor:
            read = output.last_hidden_state.read
            found = torch.zeros(len(rows), self.vocabulary)
            for number, (prompt, last) in enumerate(zip(*divmod(rows.numpy(), read.shape[1]), strict=True)):
                ids = read[prompt, : last + 1].tolist()
                answer = answers.get(tuple(ids[-QUESTION:]))
                if answer is not None:
                    said = answer if knows(ids) else token[next(noun for noun in NOUNS if token[noun] != answer)]
                    found[number, said] = 5.0
            return found

        monkeypatch.setattr(LoadedModel, "run", remember)
        monkeypatch.setattr(LoadedModel, "logits", logits)
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items())))
        entry = {"file": "items.jsonl", "name": "words", "id": "id", "answer": "answer", "choices": "options"}
        spec = {
            "models": [str(tiny_model)],
            "pool": {**entry, "level": "level", "axis": "steps"},
            "n_pool": 12,
            "n_questions": 24,
            "seeds": POOLS,
            "near": 12,
            "levels": 3,
            "retrieval": "states",
            "gap": " ",
            "arms": list(ARMS),
        }
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        with pytest.raises(SystemExit) as left:
            at_the_edge(lambda: app(["curriculum", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "out")]))
        assert not left.value.code
        return analyse(open_run(tmp_path / "out"), "curriculum")

    return command


def test_an_arm_that_is_told_the_difficulty_helps_where_difficulty_was_planted_to_matter(
    compare: Compare, tmp_path: Path
) -> None:
    found = {finding.scope.group: finding for finding in compare(same_difficulty)}
    told = found["difficulty over random"]
    assert told.verdict == "significantly positive"
    n = POOLS * told.n
    assert told.estimate == pytest.approx(2 / 3, abs=samples.of_share(1 / 3, n))  # a third is right by chance
    accuracy = found["accuracy"]
    assert accuracy.plot is not None
    shares = {mark.name: mark for mark in accuracy.plot.marks}
    assert shares["no examples"].value == 0
    assert (shares["difficulty"].value, shares["difficulty"].high) == (1, 1)
    assert 0 < shares["difficulty"].low < 1
    assert found["shuffled over random"].side == 0
    level = {f"words:{item['id']}": item["level"] for item in items()}
    run = open_run(tmp_path / "out")
    graded = run.outcomes()
    graded = graded[graded["name"] == "choice_correct"]
    right = dict(zip(graded["example_id"].astype(str), graded["value"], strict=True))
    examples = run.examples()
    for name, attrs in zip(examples["example_id"].astype(str), examples["attrs"], strict=True):
        if name in right:
            prompt = json.loads(attrs)
            shown = json.loads(prompt["shown"])
            assert right[name] == float(bool(shown) and level[shown[-1]] == level[prompt["question"]])


def test_no_arm_helps_where_answers_do_not_depend_on_examples(compare: Compare) -> None:
    findings = compare(chance)
    assert findings[0].primary
    assert findings[0].verdict == "undecided"
    over_random = [finding for finding in findings if finding.scope.group.endswith(" over random")]
    assert len(over_random) == len(ARMS)  # every other arm, and no examples
    assert not any(finding.side for finding in over_random)
