"""A comparison: every arm is asked on the same questions, once, and no example gives an answer away."""

import json
import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes.curriculum.draws import Draw, draw
from probes.curriculum.experiment import run_curriculum, shown_prompt
from probes.curriculum.prompts import NONE, Chooser, prompts
from probes.curriculum.scores import Score, read_scores
from probes.curriculum.spec import ARMS, ORACLE, SCORES, parse_curriculum
from probes.errors import InputError
from probes.records import open_run
from probes.suites.example import Example, Item, Suite
from probes.sweep.interface import Options
from probes.vocabulary.axes import AXES
from sparsity import hoyer
from tests.probes.curriculum.conftest import NOUNS, Make, rows
from tests.tolerances import LOGITS

SUITE = "curriculum-tiny0"
ALL = tuple(name for name in ARMS if name != "familiarity")


def asked(directory: Path) -> pd.DataFrame:
    """The prompts of a comparison with what came of each."""
    run = open_run(directory)
    examples = run.examples()
    examples = examples[examples["axis"] == "curriculum"].reset_index(drop=True)
    told = pd.DataFrame([json.loads(text) for text in examples["attrs"]])
    frame = pd.concat([examples[["example_id", "text", "target", "cluster", "level_name"]], told], axis=1)
    outcomes = run.outcomes()
    right = outcomes[outcomes["name"] == "choice_correct"].astype({"example_id": str})
    return frame.merge(right[["example_id", "value"]], on="example_id", how="left")


def test_every_arm_asks_the_same_questions_and_a_second_call_does_nothing(make: Make, tmp_path: Path) -> None:
    spec = make(arms=list(ALL), seeds=1, n_questions=3)
    found = run_curriculum(spec, tmp_path / "out", limit=2)
    frame = asked(tmp_path / "out")
    assert set(frame["arm"]) == {NONE, *ALL} == {NONE, *found.arms}
    questions = {arm: set(own["question"]) for arm, own in frame.groupby("arm")}
    assert len(questions[NONE]) == 2
    assert all(own == questions[NONE] for own in questions.values())
    assert (frame.groupby("arm").size() == 2).all()
    answers = frame.groupby(["question", "text"])["value"].agg(["count", "first"])
    assert (answers["count"] == 1).all()  # a prompt that several arms would ask is asked once
    assert answers["first"].isin([0.0, 1.0]).all()
    assert set(frame["cluster"]) == questions[NONE]
    for row in frame.itertuples():
        shown = json.loads(str(row.shown))
        assert len(shown) == int(str(row.k)) or row.arm.endswith("as_run")
        assert row.question not in shown
    again = run_curriculum(spec, tmp_path / "out", limit=2)
    assert [result.n_measured for result in again.sweeps] == [0, 0]
    more = run_curriculum(spec, tmp_path / "out")
    everything = asked(tmp_path / "out")
    third = everything[~everything["question"].isin(questions[NONE])]
    assert set(third["arm"]) == {NONE, *ALL}
    assert more.sweeps[1].n_measured == third["text"].nunique() > 1


def test_a_prompt_shows_the_examples_of_the_arm_in_its_order_and_then_the_question(make: Make, tmp_path: Path) -> None:
    spec = make(arms=["random", "difficulty"], k=[2, 1], near=12, seeds=1, n_questions=3, seed=1)
    run_curriculum(spec, tmp_path / "out")
    text = {row["id"]: f"{row['text']} {row['answer']}" for row in rows(40)}
    level = {row["id"]: row["level"] for row in rows(40)}
    for row in asked(tmp_path / "out").itertuples():
        question = str(row.question).removeprefix("words:")
        shown = [name.removeprefix("words:") for name in json.loads(str(row.shown))]
        before = "".join(f"{text[name]} " for name in shown)
        assert row.text == before + text[question].rpartition(" ")[0]
        if row.arm == "difficulty":
            assert level[shown[-1]] == level[question]
    item = shown_prompt(tmp_path / "out", f"random/k2/s0/{row.question}")
    assert item.example_id.startswith("curriculum-")
    assert item.example.choices == NOUNS
    with pytest.raises(InputError, match="no prompt is called 'nothing'"):
        shown_prompt(tmp_path / "out", "nothing")
    with pytest.raises(InputError, match="holds no prompts yet"):
        shown_prompt(tmp_path, "nothing")


def test_scores_are_what_they_are_called(make: Make, tmp_path: Path, tiny_model: Path) -> None:
    places = ["hoyer at final_norm", "effective_dimension_l1 at final_norm"]  # fewer dimensions are sparser, and harder
    spec = make(arms=["random"], sparsity=places, familiarity="bits_per_byte", seeds=1, n_questions=3)
    run_curriculum(spec, tmp_path / "out")
    run, found = open_run(tmp_path / "out"), draw(spec)
    ids = list(run.runs().loc[run.runs()["suite"] == "words", "run_id"])
    scores = read_scores(run, ids, found, spec)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for index, item in enumerate(found.items):
        ids = tokenizer(item.example.text)["input_ids"]
        whole = [*ids, *tokenizer(item.example.target, add_special_tokens=False)["input_ids"]]
        with torch.inference_mode():
            out = model(torch.tensor([whole]), output_hidden_states=True)
        logits, state = out.logits[0].double(), out.hidden_states[-1][0, len(ids) - 1]
        log_p = logits[len(ids) - 1].log_softmax(-1)
        loss = cross_entropy(logits[: len(ids) - 1], torch.tensor(ids[1:]))
        expected = {
            "length": len(ids),
            "sparsity": float(hoyer(state)),
            "loss": float(loss),
            "entropy": float(-(log_p.exp() * log_p).sum()),
            ORACLE: -float(log_p[whole[-1]]),
            "difficulty": item.example.level,
        }
        assert {name: scores[name].values[index] for name in expected} == pytest.approx(expected, rel=LOGITS)
    assert set(scores) == {*SCORES, *places}
    assert {name for name, score in scores.items() if score.harder == "lower"} == {places[1]}
    assert np.isfinite(scores["familiarity"].values).all()
    assert len(set(scores["random"].values)) == len(found.items)


WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f"])


@given(
    st.lists(st.tuples(WORDS, st.sampled_from(["", "one", "two"])), min_size=3, max_size=14),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from(ALL),
    st.data(),
)
def test_an_example_is_never_the_question_its_text_or_its_kin(made, n_questions, seed, name, data) -> None:
    items = tuple(
        Item(f"s:{index}", Example(id=str(index), text=text.upper() if index % 2 else f" {text}", target="x",
                                   cluster=cluster, level=float(index % 2)))
        for index, (text, cluster) in enumerate(made)
    )  # fmt: skip
    suite = Suite(name="s", version="1", axis=AXES["steps"], generate=lambda _: (), description="", source="")
    pool = np.array(data.draw(st.permutations(range(len(items)))), dtype=np.int64)  # questions among them, on purpose
    found = Draw(suites=(suite,), items=items, n_questions=min(n_questions, len(items)), pools=(pool,))
    spec = parse_curriculum(
        {"models": ["lab-reference"], "pool": "lab_exposure", "k": 2, "near": 4, "levels": 2, "seed": seed},
        folder=Path(),
    )
    rng = np.random.default_rng(seed)
    scores = {key: Score(rng.integers(0, 3, len(items)).astype(float), "lower") for key in SCORES}
    arm = ARMS[name].model_copy(update={"retrieval": ARMS[name].retrieval or "states"})
    chooser = Chooser(draw=found, spec=spec, scores=scores, states=rng.normal(size=(len(items), 3)).astype(np.float32))
    by_name = {item.example_id: item for item in items}
    for example in prompts(chooser, [arm], chat=False):
        told = dict(example.attrs)
        shown = json.loads(told["shown"])
        own = by_name[told["question"]].example
        for other in (by_name[name].example for name in shown):
            assert other.id != own.id
            assert other.text.strip().lower() != own.text.strip().lower()
            assert not own.cluster or other.cluster != own.cluster
        assert len(set(shown)) == len(shown)
        assert example.fault or len(shown) == int(told["k"]) or name.endswith("as_run")


def test_what_does_not_fit_or_cannot_be_graded_is_a_recorded_failure(make: Make, tmp_path: Path) -> None:
    items = rows(40)
    for row in items:
        row["answer"] = row["answer"] if int(row["id"]) % 4 else "a bird"  # is none of the choices
    spec = make(items, arms=["random"], k=[2, 6], near=6, seeds=1, n_questions=8)
    found = run_curriculum(spec, tmp_path / "out")  # six examples of five tokens or more do not fit into 32
    failures = open_run(tmp_path / "out").failures()
    errors = dict(zip(failures["example_id"].astype(str), failures["error"].astype(str), strict=True))
    long = [name for name in errors if "/k6/" in name]
    assert len(long) == 8
    assert any("tokens" in errors[name] and "32" in errors[name] for name in long)
    wrong = {name.rpartition(":")[2] for name in errors if "/k2/" in name}
    assert wrong
    assert all("a bird" in error for name, error in errors.items() if "/k2/" in name)
    assert found.sweeps[-1].n_failed == len(errors)


def test_a_question_without_the_score_is_a_failure_of_that_arm_alone(make: Make, tmp_path: Path) -> None:
    items = rows(40)
    for row in items:
        row["level"] = None if int(row["id"]) % 4 == 0 else row["level"]
    spec = make(items, arms=["random", "difficulty"], seeds=1, n_questions=8, n_pool=20)
    run_curriculum(spec, tmp_path / "out")
    failures = open_run(tmp_path / "out").failures()
    names = failures["example_id"].astype(str)
    assert names.str.contains("difficulty/k2").all()
    assert failures["error"].str.contains("the question has no difficulty").all()
    frame = asked(tmp_path / "out")
    shown = {name for text in frame.loc[frame["arm"] == "difficulty", "shown"] for name in json.loads(text)}
    assert all(int(name.removeprefix("words:")) % 4 for name in shown)  # and no example without it


def test_in_a_chat_template_examples_are_turns(make: Make) -> None:
    spec = make(arms=["random"], seeds=1, n_questions=2)
    chat = spec.model_copy(update={"template": "chat"})
    found = draw(chat)
    arm = ARMS["random"]
    (zero, *_, last) = list(prompts(Chooser(draw=found, spec=chat, scores={}), [arm], chat=True))
    assert not zero.before
    assert [role for role, _ in last.before] == ["user", "assistant"] * 2
    shown = json.loads(dict(last.attrs)["shown"])
    by_name = {item.example_id: item.example for item in found.items}
    assert [content for _, content in last.before] == [
        part for name in shown for part in (by_name[name].text, by_name[name].target)
    ]
    assert last.text == by_name[dict(last.attrs)["question"]].text


@pytest.mark.long
def test_a_killed_comparison_goes_on_to_the_same_answers(make: Make, tmp_path: Path) -> None:
    spec = make(arms=["random", "sparsity", "loss"], n_questions=4, seeds=1)
    options = Options(batch_size=2)
    run_curriculum(spec, tmp_path / "whole", options)
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # one thread is all that this child uses
        child = os.fork()
    if child == 0:
        try:
            run_curriculum(spec, out, options, on_progress=lambda told: time.sleep(0.2 if "curr" in told.run else 0))
        finally:
            os._exit(1)
    while not (out / "items" / f"{next(iter(names(tmp_path / 'whole')))}.jsonl").exists():
        time.sleep(0.01)
    time.sleep(0.5)  # in the middle of the answers
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    rest = run_curriculum(spec, out, options)
    assert rest.sweeps[0].n_measured == 0
    assert 0 < rest.sweeps[1].n_measured <= 4 * 3 + 4
    one, other = asked(tmp_path / "whole"), asked(out)
    pd.testing.assert_frame_equal(*(frame.sort_values("example_id", ignore_index=True) for frame in (one, other)))


def names(directory: Path) -> set[str]:
    """Suites of prompts in a directory."""
    return {name for name in open_run(directory).runs()["suite"] if name.startswith("curriculum-")}
