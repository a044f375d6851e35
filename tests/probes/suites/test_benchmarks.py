"""Benchmarks: real local copies where there are some, small made ones with the same fields for the others."""

import json
import math
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites import Example
from probes.suites.benchmarks.benchmark_suite import BENCHMARKS, BenchmarkSuite
from probes.suites.benchmarks.paradigms import PARADIGMS

REAL = {
    "gsm8k": "gsm8k.jsonl",
    "arc": "arc-*.jsonl",
    "bbh_objects": "bbh/logical_deduction_*_objects.jsonl",
    "babi": "babi/qa*_test.txt",
    "blimp": "blimp/wh_i*.jsonl",
    "scan": "scan/*.txt",
    "lost_in_the_middle": "lost_in_the_middle/*75*.gz",
    "humaneval": "humaneval.jsonl",
}

MADE: dict[str, dict[str, list[dict[str, object]]]] = {
    "math_500": {"math": [{"problem": "1+1?", "answer": "2", "subject": "Algebra", "level": 4, "unique_id": "t/1"}]},
    "gsm8k": {"main": [{"question": "2 by 3?", "answer": "It is <<2*3=6>>6.\n#### 6"}]},
    "deepmath": {"train": [{"question": "why?", "final_answer": "pi", "difficulty": 6.5, "topic": "x -> y"}]},
    "mmlu": {"all": [{"question": "sky?", "subject": "physics", "choices": ["red", "blue", "a", "b"], "answer": 1}]},
    "mmlu_pro": {
        "test": [
            {"question_id": 70, "question": "sum?", "options": ["1", "2", "3"], "answer_index": 2, "category": "math"}
        ]
    },
    "arc": {
        "ARC-Easy": [
            {
                "id": "Mercury_1",
                "question": "ice?",
                "choices": {"text": ["cold", "hot"], "label": ["1", "2"]},
                "answerKey": "1",
            }
        ]
    },
    "piqa": {"validation": [{"goal": "cool tea?", "sol1": "heat it", "sol2": "add ice", "label": 1}]},
    "bbh_world": {
        "navigate": [{"input": "Turn. Are you home?\nOptions:\n- Yes\n- No", "target": "No"}],
        "geometric_shapes": [{"input": "A path.\nOptions:\n(A) circle\n(B) kite", "target": "(B)"}],
    },
    "longreason": {
        split: [{"example_idx": "7", "prompt": f"{split} of text, then a question", "answer": "C"}]
        for split in ("8k", "16k", "32k", "64k")
    },
    "babi": {
        "en-qa2": [
            {
                "story": {
                    "id": ["1", "2", "3"],
                    "text": ["A took x.", "A went home.", "Where is x?"],
                    "answer": ["", "", "home"],
                    "supporting_ids": [[], [], ["1", "2"]],
                }
            }
        ]
    },
    "mgsm": {
        f"mgsm_{code}": [{"question": question, "answer_number": number} for number, question in enumerate(questions)]
        for code, questions in {"en": ["one?", "two?"], "de": ["eins?", "zwei?"]}.items()
    },
    "scan": {"length-train": [{"commands": "jump", "actions": "I_JUMP"}]},
    "cogs": {"gen": [{"input": "A cat slept .", "output": "sleep ( x )", "domain": "subj_to_obj_common"}]},
}


def examples(entry: BenchmarkSuite) -> list[Example]:
    return [item.example for item in entry.suite().items(np.random.default_rng(0))]


def made(folder: Path, name: str) -> list[Example]:
    for part, rows in MADE[name].items():
        (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return examples(BenchmarkSuite(name=name, file=str(folder / "*.jsonl")))


@cache  # several tests look at the same items
def real(assets: Path, name: str) -> list[Example]:
    return examples(BenchmarkSuite(name=name, file=str(assets / "tasks" / REAL[name])))


def levels(found: list[Example]) -> dict[str, int]:
    return dict(Counter(example.label() for example in found))


def test_every_benchmark_is_tried_here_and_says_whom_to_cite() -> None:
    for name, found in BENCHMARKS.items():
        assert name in REAL or name in MADE
        assert found.citation
        assert found.licence
        assert found.description
        assert found.parts or name == "lost_in_the_middle"
    assert len(set(PARADIGMS)) == 67


@pytest.mark.parametrize("name", sorted(set(REAL) - {"gsm8k", "bbh_objects", "babi", "scan"}))
def test_real_items_are_whole(assets: Path, name: str) -> None:
    found = real(assets, name)
    assert all(example.text.strip() for example in found)
    assert all(example.target or name == "blimp" for example in found)
    nominal = BENCHMARKS[name].axis.kind == "nominal"
    assert all(math.isnan(example.level) == nominal for example in found)


def test_gsm8k_counts_the_steps_of_its_solutions(assets: Path) -> None:
    rows = [json.loads(line) for line in (assets / "tasks" / "gsm8k.jsonl").read_text().splitlines()]
    found = real(assets, "gsm8k")
    assert [example.target for example in found] == [row["answer"] for row in rows]
    # a solution without marks has an unknown number of steps, which the copy writes as 0
    assert [0 if math.isnan(example.level) else example.level for example in found] == [row["steps"] for row in rows]


def test_arc_reads_what_its_instructions_say(assets: Path) -> None:
    found = real(assets, "arc")
    assert levels(found) == {"challenge": 1171, "easy": 2376}  # one of 1172 has its answer twice
    text = (assets / "tasks" / "arc-easy.jsonl").read_text()
    rows = {f"easy-{row['id']}": row for row in map(json.loads, text.splitlines())}
    for example in found:
        if example.level_name == "easy":
            row = rows[example.id]
            number = row["answer"].removeprefix("answer")
            assert example.target == "ABCDE"[int(number) - 1]
            chosen = next(line[3:] for line in example.text.split("\n") if line.startswith(f"{example.target}. "))
            assert f"Answer{number}: {chosen}" in row["instruction"]


def test_bbh_has_as_many_names_as_its_level_says(assets: Path) -> None:
    found = real(assets, "bbh_objects")
    assert levels(found) == {"3": 250, "5": 250, "7": 250}
    assert all(example.text.count("\n(") == example.level for example in found)


def test_babi_asks_only_what_its_story_has_told(assets: Path) -> None:
    found = real(assets, "babi")
    assert levels(found) == {"1": 1000, "2": 1000, "3": 1000}
    assert all(str(example.target) in example.text for example in found)
    assert Counter(Counter(example.cluster for example in found).values()) == {5: 600}


def test_blimp_pairs_a_good_and_a_bad_sentence(assets: Path) -> None:
    found = real(assets, "blimp")
    assert Counter(example.split for example in found) == {"in": 1000, "shifted": 1000}
    assert set(Counter(example.cluster for example in found).values()) == {2}
    assert {dict(example.attrs)["paradigm"] for example in found} <= set(PARADIGMS)


def test_lost_in_the_middle_moves_the_pair_and_nothing_else(assets: Path) -> None:
    found = real(assets, "lost_in_the_middle")[:5]
    assert len({example.cluster for example in found}) == 1
    assert len({len(example.text) for example in found}) == 1
    places = []
    for example in found:
        pairs = json.loads(example.text.split("JSON data:\n")[1].split("\n\nKey:")[0])
        assert len(pairs) == 75
        places.append(list(pairs.values()).index(str(example.target).strip('"')))
    assert places == [round(example.level * 74) for example in found]


def test_scan_halves_are_in_and_shifted(assets: Path, tmp_path: Path) -> None:
    for path in (assets / "tasks" / "scan").glob("*length.txt"):
        (tmp_path / path.name).write_text("".join(path.read_text().splitlines(keepends=True)[:500]))
    found = examples(BenchmarkSuite(name="scan", file=str(tmp_path / "*.txt")))
    assert Counter(example.split for example in found) == {"in": 500, "shifted": 500}
    # the length split of the paper: up to 22 actions in training, more in the test
    assert all((int(dict(example.attrs)["actions"]) <= 22) == (example.split == "in") for example in found)


@pytest.mark.parametrize(
    ("name", "text", "target", "level"),
    [
        ("math_500", "Problem: 1+1?\nAnswer:", "2", "4"),
        ("gsm8k", "Question: 2 by 3?\nAnswer:", "6", "1"),
        ("deepmath", "Problem: why?\nAnswer:", "pi", "6.5"),
        ("mmlu", "Question: sky?\nA. red\nB. blue\nC. a\nD. b\nAnswer:", "B", "physics"),
        ("mmlu_pro", "Question: sum?\nA. 1\nB. 2\nC. 3\nAnswer:", "C", "3"),
        ("arc", "Question: ice?\nA. cold\nB. hot\nAnswer:", "A", "easy"),
        ("piqa", "Question: cool tea?\nA. heat it\nB. add ice\nAnswer:", "B", "physics"),
        ("babi", "A took x.\nA went home.\nQuestion: Where is x?\nAnswer:", "home", "2"),
        ("scan", "Command: jump\nActions:", "I_JUMP", "length"),
        ("cogs", "Sentence: A cat slept .\nMeaning:", "sleep ( x )", "subj_to_obj_common"),
    ],
)
def test_made_items_have_the_fields_of_the_hub(tmp_path: Path, name: str, text: str, target: str, level: str) -> None:
    (example,) = made(tmp_path, name)
    assert (example.text, example.target, example.label()) == (text, target, level)


def test_options_of_either_kind_are_read(tmp_path: Path) -> None:
    found = {example.label(): (example.text, example.target) for example in made(tmp_path, "bbh_world")}
    assert found == {
        "navigate": ("Question: Turn. Are you home?\nA. Yes\nB. No\nAnswer:", "B"),
        "geometric_shapes": ("Question: A path.\nA. circle\nB. kite\nAnswer:", "B"),
    }


def test_longreason_pairs_lengths_and_mgsm_languages(tmp_path: Path) -> None:
    long = made(tmp_path, "longreason")
    assert {example.level: example.cluster for example in long} == {8.0: "7", 16.0: "7", 32.0: "7", 64.0: "7"}
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    parallel = made(tmp_path, "mgsm")
    assert {(example.cluster, example.level_name, example.split): example.text for example in parallel} == {
        ("problem-1", "en", "in"): "one?\n",
        ("problem-2", "en", "in"): "two?\n",
        ("problem-1", "de", "shifted"): "eins?\n",
        ("problem-2", "de", "shifted"): "zwei?\n",
    }


def test_an_item_that_holds_its_answer_twice_is_left_out(tmp_path: Path) -> None:
    row = {"question": "?", "subject": "s", "answer": 0}
    rows = [{**row, "choices": ["x", "x", "y", "z"]}, {**row, "choices": ["x", "y", "y", "z"]}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (example,) = examples(BenchmarkSuite(name="mmlu", file=str(tmp_path / "m.jsonl")))
    assert "A. x\nB. y\nC. y" in example.text


def test_another_wording_or_revision_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text(json.dumps(MADE["gsm8k"]["main"][0]))
    plain = BenchmarkSuite(name="gsm8k", file=str(tmp_path / "g.jsonl"))
    polite = plain.model_copy(update={"prompt": "Please answer. {question}"})
    assert examples(polite)[0].text == "Please answer. 2 by 3?"
    pinned = BenchmarkSuite(name="gsm8k", revision="abc")
    assert plain.suite().version == "1"
    assert pinned.suite().version == "1+abc"
    assert polite.suite().version.startswith("1+wording-")


@pytest.mark.parametrize(
    ("name", "part", "row", "message"),
    [
        ("math_500", "m", {"problem": "x"}, r"m\.jsonl, line 1: no field 'answer'; there are 'problem'"),
        (
            "math_500",
            "m",
            {"problem": "x", "answer": "y", "level": "hard", "unique_id": "1", "subject": "s"},
            r"field 'level' should be a number and is 'hard'",
        ),
        ("gsm8k", "g", {"question": "x", "answer": "18"}, r"the solution should end with '####'"),
        ("mmlu", "m", {"question": "x", "subject": "s", "choices": ["a"], "answer": 4}, r"should be one of 1 choices"),
        ("arc", "science", {"id": "1"}, r"the file's name should say easy or challenge"),
        (
            "arc",
            "easy",
            {"id": "1", "question": "x", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "B"},
            r"field 'answerKey' should be one of A and is 'B'",
        ),
        ("arc", "easy", {"id": "1", "question": "x", "choices": ["a"]}, r"field 'choices' should hold text, label"),
        ("arc", "easy", {"id": "1", "instruction": "x", "answer": "answer1"}, r"a question and its numbered answers"),
        ("longreason", "long", {"prompt": "x"}, r"should say how long the context is"),
        ("bbh_objects", "objects", {"input": "x"}, r"should be called like logical_deduction_three_objects"),
        ("bbh_world", "walks", {"input": "x"}, r"should be called like geometric_shapes"),
        ("bbh_world", "navigate", {"input": "x", "target": "Yes"}, r"should end in options"),
        ("piqa", "piqa", {"goal": "x", "sol1": "a", "sol2": "b", "label": 2}, r"field 'label'"),
        ("babi", "qa1", {"text": "Mary moved."}, r"a line of bAbI should begin with its number"),
        ("babi", "qa1", {"text": "1 Where?\thome"}, r"question, answer and facts"),
        ("mgsm", "mgsm", {"question": "x"}, r"the file's name should hold a language"),
        ("scan", "train_length", {"text": "jump"}, r"should read 'IN: ... OUT: ...'"),
        ("scan", "length", {"text": "jump"}, r"should be called like tasks_train_length"),
        ("lost_in_the_middle", "kv", {"ordered_kv_records": [], "key": "a", "value": "b"}, r"with the one asked for"),
    ],
)
def test_faults_name_file_item_and_field(
    tmp_path: Path, name: str, part: str, row: dict[str, object], message: str
) -> None:
    path = tmp_path / f"{part}.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=message) as raised:
        examples(BenchmarkSuite(name=name, file=str(path)))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_what_is_on_no_hub_asks_for_a_file_and_what_is_cannot_be_had_offline() -> None:
    with pytest.raises(InputError, match="'lost_in_the_middle' is not on the hub; give a local copy as `file`"):
        examples(BenchmarkSuite(name="lost_in_the_middle"))
    with pytest.raises(InputError, match="openai/gsm8k main/test: not in the hub's cache"):
        examples(BenchmarkSuite(name="gsm8k"))
