"""Familiarity in a sweep: the notebook's numbers from the sweep's own pass, beside the sparsity of the same tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.corpus import Tokens, build_index, open_index
from probes.errors import InputError
from probes.familiarity import Compressor, Sources, measure_familiarity, remember
from probes.familiarity.reader import FamiliarityReader
from probes.models import LoadedModel, load_model
from probes.records import open_run
from probes.suites.example import Example, Item
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.tolerances import LOGITS, REBATCHED, TWO_ROUTES

CORPUS = ["the cat sat on the mat", "the dog ran under the tree", "and saw cat dog"]
KNOWN = ["the cat sat", "one dog ran", "two three four", "the tree"]
MEASURES = ["bits_per_byte", "surprisal", "min_k_plus_plus", "answer.surprisal", "longest_match", "ngram_coverage(13)",
            "knn_distance(2)", "mahalanobis", "reference_ratio"]  # fmt: skip


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, object]:
    build_index(CORPUS, name="toys", out=tmp_path / "toys.index")
    (tmp_path / "known.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in KNOWN))
    return {
        "measures": MEASURES,
        "tokens": True,
        "corpora": "toys.index",
        "known": {"texts": "known.jsonl", "site": "resid_post.1"},
        "reference": "zlib",
    }


def table(frame: pd.DataFrame, *keys: str) -> pd.Series:
    own = ["example_id", *keys, "measure", "corpus"]
    return frame.astype(dict.fromkeys(("example_id", "measure", "corpus"), str)).set_index(own)["value"].sort_index()


def items_of(directory: Path) -> list[Item]:
    rows = open_run(directory).examples().itertuples()
    return [Item(str(row.example_id), Example(text=str(row.text), target=str(row.target))) for row in rows]


def test_a_sweep_gives_the_numbers_of_the_notebook(
    make_spec: MakeSpec, tmp_path: Path, asked, tiny_model: Path
) -> None:
    result = run_sweep(make_spec(familiarity=asked), tmp_path / "run", Options(batch_size=3))
    assert result.n_failed == 0
    run = open_run(tmp_path / "run")
    model = load_model(str(tiny_model))
    known = remember(model, {text: text for text in KNOWN}, site="resid_post.1")
    sources = Sources(index=open_index(tmp_path / "toys.index"), states=known, reference=Compressor("zlib"))
    alone = measure_familiarity(model, items_of(tmp_path / "run"), MEASURES, sources=sources, per_token=True)
    pd.testing.assert_series_equal(table(run.familiarity()), table(alone.familiarity), rtol=LOGITS)
    tokens = table(run.familiarity_tokens(), "token"), table(alone.familiarity_tokens, "token")
    pd.testing.assert_series_equal(*tokens, rtol=TWO_ROUTES, atol=LOGITS)
    assert set(run.familiarity()["corpus"]) == {"", "toys", "known", "zlib"}


def test_a_token_stands_beside_the_sparsity_of_the_state_after_it(
    make_spec: MakeSpec, tmp_path: Path, asked, tiny_model: Path
) -> None:
    run_sweep(make_spec(familiarity=asked), tmp_path / "run")
    run = open_run(tmp_path / "run")
    both = run.tokens(site="final_norm")
    assert len(both) == len(run.token_measurements(site="final_norm"))
    model = load_model(str(tiny_model))
    texts = dict(zip(run.examples()["example_id"], run.examples()["text"], strict=True))
    inputs = run.inputs().set_index("example_id")
    for example_id, own in both.groupby("example_id", observed=True):
        ids = inputs.loc[example_id, "token_ids"]
        import torch

        with torch.inference_mode():
            log_p = model.module(input_ids=torch.tensor(ids[None, :].astype(np.int64))).logits[0].log_softmax(-1)
        for row in own.itertuples():
            assert row.surprisal == pytest.approx(-log_p[row.token - 1, ids[row.token]].item() / np.log(2), rel=LOGITS)
        spans = own.sort_values("token")[["char_start", "char_end"]].itertuples(index=False)
        assert "".join(texts[example_id][start:end] for start, end in spans) == texts[example_id]
    assert both["longest_match|toys"].notna().all()
    assert both["hoyer"].notna().all()


def test_the_logits_come_from_the_pass_that_shows_the_states(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    own = LoadedModel.run
    monkeypatch.setattr(LoadedModel, "run", lambda model, batch: passes.append(len(batch.ids)) or own(model, batch))
    run_sweep(make_spec(sites=["final_norm"]), tmp_path / "bare", Options(batch_size=4))
    bare = len(passes)
    spec = make_spec(sites=["final_norm"], familiarity=["bits_per_byte", "answer.surprisal"])
    run_sweep(spec, tmp_path / "run", Options(batch_size=4))
    assert len(passes) == 2 * bare


def test_adding_a_measure_a_corpus_or_tokens_computes_only_what_is_missing(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[tuple[str, ...]] = []
    own = FamiliarityReader.reading

    def spying(reader, items, prompts, asked):
        cells.append(tuple(re.sub(r"#\w+", "", cell) for cell in asked))
        return own(reader, items, prompts, asked)

    monkeypatch.setattr(FamiliarityReader, "reading", spying)
    build_index(CORPUS, name="toys", out=tmp_path / "toys.index")
    build_index(CORPUS[:1], name="less", out=tmp_path / "less.index")
    steps = [
        None,
        ["surprisal"],
        {"measures": ["surprisal", "longest_match"], "corpora": ["toys.index"]},
        {"measures": ["surprisal", "longest_match"], "corpora": ["toys.index", "less.index"], "tokens": True},
    ]
    for step in steps:
        run_sweep(make_spec(familiarity=step), tmp_path / "run", Options(batch_size=7))
    assert cells == [
        ("surprisal@1",),
        ("longest_match@1|toys",),
        ("longest_match@1|less", "surprisal@1|tokens", "longest_match@1|toys|tokens", "longest_match@1|less|tokens"),
    ]
    run = open_run(tmp_path / "run")
    assert not run.familiarity().duplicated(["example_id", "measure", "corpus"]).any()
    assert not run.familiarity_tokens().duplicated(["example_id", "measure", "corpus", "token"]).any()
    assert len(run.familiarity()) == 7 * 3
    run_sweep(make_spec(familiarity=steps[-1]), tmp_path / "at once", Options(batch_size=7))
    for name, keys in (("familiarity", ()), ("familiarity_tokens", ("token",))):
        one, other = (table(getattr(open_run(tmp_path / d), name)(), *keys) for d in ("run", "at once"))
        pd.testing.assert_series_equal(one, other, rtol=REBATCHED)


def test_a_value_that_an_item_does_not_have_is_nan_with_a_reason_and_no_failure(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    build_index(CORPUS, name="toys", out=tmp_path / "toys.index")
    entry = {"measures": ["ngram_log_count(500)", "longest_match"], "corpora": "toys.index"}
    result = run_sweep(make_spec(familiarity=entry), tmp_path / "run")
    assert (result.n_measured, result.n_failed) == (7, 0)
    run = open_run(tmp_path / "run")
    assert len(run.failures()) == 0
    assert run.familiarity(measure="ngram_log_count(500)")["value"].isna().all()
    assert run.familiarity(measure="longest_match")["value"].notna().all()
    assert run.undefined()["error"].str.fullmatch(r"ngram_log_count\(500\): the text has \d+ symbols, .* n = 500").all()
    assert len(run.undefined()) == 7


def test_an_interrupted_sweep_goes_on_to_the_same_familiarity(make_spec: MakeSpec, tmp_path: Path, asked) -> None:
    spec, options = make_spec(familiarity=asked), Options(batch_size=2)
    run_sweep(spec, tmp_path / "whole", options)
    stops = iter((False, True))
    assert run_sweep(spec, tmp_path / "parts", options, should_stop=lambda: next(stops)).interrupted
    run_sweep(spec, tmp_path / "parts", options)
    for name, keys in (("familiarity", ()), ("familiarity_tokens", ("token",))):
        one, other = (table(getattr(open_run(tmp_path / d), name)(), *keys) for d in ("whole", "parts"))
        pd.testing.assert_series_equal(one, other, check_exact=True)


def test_known_states_and_choices_are_read_in_one_sweep(make_spec: MakeSpec, tmp_path: Path, asked) -> None:
    rows = [{"q": "the cat sat on the", "options": ["mat", "tree dog"], "answer": 0, "id": i} for i in range(3)]
    (tmp_path / "quiz.jsonl").write_text("\n".join(map(json.dumps, rows)))
    quiz = {"file": "quiz.jsonl", "name": "quiz", "prompt": "q", "choices": "options", "answer": "answer", "id": "id"}
    familiarity = {"measures": ["knn_distance(2)"], "known": asked["known"]}
    spec = make_spec(suites=[quiz], outcomes=["choice_correct"], familiarity=familiarity)
    assert run_sweep(spec, tmp_path / "run").n_failed == 0
    run = open_run(tmp_path / "run")
    assert len(run.familiarity()) == len(run.outcomes()) == 3
    assert np.isfinite(run.familiarity()["value"]).all()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["bits_per_bite"], "did you mean 'bits_per_byte'"),
        (["longest_match"], r"longest_match needs corpora: write familiarity: \{measures: \[...\], corpora: ...\}"),
        (["knn_distance(1)"], "knn_distance.* needs known"),
        (["reference_ratio"], "reference_ratio needs reference"),
        (["surprisal", "surprisal"], "asked for twice"),
        ({"measures": ["surprisal"], "corpus": "x"}, "unknown key 'corpus', did you mean 'corpora'"),
        ({"measures": ["longest_match"], "corpora": "nowhere"}, "nowhere is not a whole corpus index"),
        ({"measures": ["longest_match"], "corpora": "other.index"}, "was built with letters.*, not with"),
        (
            {"measures": ["longest_match"], "corpora": ["toys.index", "again.index"]},
            "two corpora or memories are called 'toys'",
        ),
        ({"measures": ["reference_ratio"], "reference": "zlip"}, "zlip"),
        (["exposure"], "is not a laboratory model"),
        ({"measures": ["mahalanobis"], "known": {}}, "known needs either suite"),
        (
            {"measures": ["mahalanobis"], "known": {"suite": "nobody"}},
            "is called 'nobody': items",
        ),
        ({"measures": ["mahalanobis"], "known": {"suite": "items", "site": "resid_post"}}, "is 2 sites"),
        ({"measures": ["mahalanobis"], "known": {"texts": "nowhere.jsonl"}}, "no file .*nowhere.jsonl"),
    ],
)
def test_what_cannot_be_measured_is_one_line_before_anything_is_written(
    make_spec: MakeSpec, tmp_path: Path, entry, message
) -> None:
    build_index(CORPUS, name="toys", out=tmp_path / "toys.index")
    build_index(CORPUS, name="toys", out=tmp_path / "again.index")
    if "other.index" in str(entry):
        built = build_index(CORPUS, name="other", out=tmp_path / "other.index")
        facts = json.loads((tmp_path / "other.index" / "index.json").read_text())
        (tmp_path / "other.index" / "index.json").write_text(json.dumps({**facts, "alphabet": "letters 9"}))
        assert built.n_documents == 3
    with pytest.raises(InputError, match=message) as caught:
        run_sweep(make_spec(familiarity=entry), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_another_corpus_under_a_recorded_name_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    entry = {"measures": ["longest_match"], "corpora": "toys.index"}
    build_index(CORPUS, name="toys", out=tmp_path / "toys.index")
    run_sweep(make_spec(familiarity=entry), tmp_path / "run")
    assert run_sweep(make_spec(familiarity=entry), tmp_path / "run").n_measured == 0
    build_index(CORPUS[:1], name="toys", out=tmp_path / "new.index")
    with pytest.raises(InputError, match="longest_match against 'toys' is recorded with another content"):
        run_sweep(make_spec(familiarity={**entry, "corpora": "new.index"}), tmp_path / "run")


def test_known_texts_may_be_the_in_split_of_a_suite_and_an_item_is_not_its_own_neighbour(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    entry = {"measures": ["knn_distance(1)"], "known": {"suite": "items"}}
    run_sweep(make_spec(familiarity=entry), tmp_path / "run")
    assert (open_run(tmp_path / "run").familiarity()["value"] > 0).all()


def test_a_resolved_spec_says_what_was_asked(make_spec: MakeSpec, tmp_path: Path, asked) -> None:
    import yaml

    from probes.sweep.spec import parse_spec

    spec = make_spec(familiarity=asked)
    assert spec.familiarity is not None
    assert spec.familiarity.measures[2] == "min_k_plus_plus(0.2)@1"
    assert spec.familiarity.corpora == (str(tmp_path / "toys.index"),)
    (tmp_path / "else").mkdir()
    assert parse_spec(yaml.safe_load(spec.to_yaml()), folder=tmp_path / "else") == spec
    assert make_spec(familiarity="bits_per_byte").familiarity.measures == ("bits_per_byte@1",)
    assert make_spec().familiarity is None


def test_an_index_of_the_models_own_tokens_is_opened_with_them(
    make_spec: MakeSpec, tmp_path: Path, tiny_model: Path
) -> None:
    alphabet = Tokens(load_model(str(tiny_model)).tokenizer)
    build_index(CORPUS, alphabet=alphabet, name="toys", out=tmp_path / "toys.index")
    run_sweep(make_spec(familiarity={"measures": ["text_count"], "corpora": "toys.index"}), tmp_path / "run")
    assert len(open_run(tmp_path / "run").familiarity()) == 7
