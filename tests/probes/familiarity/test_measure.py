"""From inputs to tables: rows align with tokens, parts with their text, and what is undefined says why."""

import math

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.capture import collect
from probes.corpus.alphabet import Bytes, Tokens
from probes.corpus.corpora import build_index
from probes.corpus.matching import match_ahead, match_behind
from probes.errors import InputError
from probes.familiarity.known_states import read_states, remember
from probes.familiarity.measure import measure_familiarity
from probes.familiarity.measures.exposures import exposures_of
from probes.familiarity.sources import Sources
from probes.familiarity.texts import CausalLM, read_text
from probes.lab import build_world
from probes.models import LoadedModel
from probes.records.schema import SCHEMAS
from probes.suites.example import Example, Item
from tests.tolerances import LOGITS, REBATCHED, STORED

CORPUS = ["the cat sat on the mat", "the dog ran under the tree", "one dog saw two cat"]
TEXTS = ["the cat sat on the tree", "a dog", "one two three four"]


def item(n: int, text: str, target: str | None = None) -> Item:
    return Item(f"toys:{n}", Example(text=text, target=target))


def values(frame: pd.DataFrame, measure: str) -> dict[str, float]:
    own = frame[frame["measure"] == measure]
    return dict(zip(own["example_id"].astype(str), own["value"], strict=True))


def test_tables_have_the_columns_of_a_sweep(tiny: LoadedModel):
    tables = measure_familiarity(tiny, TEXTS, ["bits_per_byte", "surprisal"], per_token=True)
    for name, frame in zip(tables._fields, tables, strict=True):
        assert list(frame.columns) == SCHEMAS[name].names
    assert tables.familiarity["example_id"].tolist() == ["0", "0", "1", "1", "2", "2"]
    rates = values(tables.familiarity, "bits_per_byte")
    lm = CausalLM(tiny)
    for n, text in enumerate(TEXTS):
        assert rates[str(n)] == pytest.approx(lm.bits(text) / len(text), rel=STORED)
    assert len(tables.failures) == 0


def test_rows_of_tokens_stand_beside_the_sparsity_of_the_same_tokens(stories: LoadedModel):
    text = "Once upon a time a naïve cat sat down."
    tokens = measure_familiarity(stories, [text], ["surprisal"], per_token=True).familiarity_tokens
    frame = collect(stories, [text], sites="final_norm", positions="all", metrics=["gini"])
    both = frame.merge(tokens, on=["example_id", "token"], suffixes=("", "_familiarity"))
    assert len(both) == len(frame) == len(tokens)
    for row in tokens.itertuples():
        shown = stories.tokenizer.decode(read_text(stories, text).prompt.ids[row.token])
        assert shown.strip() in text[row.char_start : row.char_end] or "�" in shown
    spans = tokens[["char_start", "char_end"]].drop_duplicates()
    assert "".join(text[s:e] for s, e in spans.itertuples(index=False)) == text


def test_the_answer_is_measured_given_the_prompt(tiny: LoadedModel):
    items = [item(0, "the cat sat on the", "mat"), item(1, "the dog")]
    found = measure_familiarity(tiny, items, ["bits_per_byte", "answer.bits_per_byte", "answer.surprisal"]).familiarity
    whole = CausalLM(tiny).predict("the cat sat on the mat")
    assert values(found, "answer.bits_per_byte") == {"toys:0": pytest.approx(-whole.log2_p[-1] / 4, rel=REBATCHED)}
    assert values(found, "answer.surprisal") == {"toys:0": pytest.approx(-whole.log2_p[-1], rel=REBATCHED)}
    assert set(values(found, "bits_per_byte")) == {"toys:0", "toys:1"}


@pytest.mark.parametrize("own_tokens", [True, False])
def test_a_corpus_of_tokens_or_bytes_is_tied_to_the_models_tokens(tiny: LoadedModel, own_tokens):
    alphabet = Tokens(tiny.tokenizer) if own_tokens else Bytes()
    index = build_index(CORPUS, alphabet=alphabet, name="toys")
    items = [item(0, "the cat sat on the", "tree"), item(1, "a mat")]
    asked = ["longest_match", "answer.longest_match", "text_count", "answer.text_count", "ngram_coverage(4)"]
    tables = measure_familiarity(tiny, items, asked, sources=Sources(index=index), per_token=True)
    assert set(tables.familiarity["corpus"]) == {"toys"}
    text = "the cat sat on the tree"
    ids = index.ids(text)
    behind = match_behind(match_ahead(index, ids))
    words = list(range(6)) if own_tokens else [len(" ".join(text.split()[: n + 1])) - 1 for n in range(6)]
    own = tables.familiarity_tokens
    prompt = own[(own["measure"] == "longest_match") & (own["example_id"] == "toys:0")]
    answer = own[(own["measure"] == "answer.longest_match") & (own["example_id"] == "toys:0")]
    # a word's own last character ends its match; white space after it belongs to its span
    if own_tokens:
        assert prompt["value"].tolist() == behind[words[:5]].tolist()
    assert answer["value"].tolist() == behind[words[5:]].tolist()
    counts = values(tables.familiarity, "text_count")
    assert counts == {"toys:0": 1.0, "toys:1": 0.0}
    assert values(tables.familiarity, "answer.text_count") == {"toys:0": 0.0}


def test_spans_of_bytes_and_tokens_agree_also_where_a_prompt_is_cut(stories: LoadedModel):
    text = "Once upon a time, a naïve little cat sat down and saw the big red dog."
    index = build_index([text, "A cat sat down. The end."], name="toys")
    asked = ["longest_match", "answer.longest_match"]
    items = [item(0, text, "The end.")]
    n = 14
    tables = measure_familiarity(stories, items, asked, sources=Sources(index=index), per_token=True, max_tokens=n)
    read = read_text(stories, text, target="The end.", max_tokens=n)
    cut = read.characters("prompt")
    behind = match_behind(match_ahead(index, index.ids(cut + read.characters("answer"))))
    own = tables.familiarity_tokens
    prompt = own[own["measure"] == "longest_match"]
    ends = [len(text[: row.char_end].encode()) - 1 for row in prompt.itertuples()]
    assert prompt["value"].tolist() == behind[ends].tolist()
    assert prompt["value"].iloc[-1] == len(cut.encode())
    answer = own[own["measure"] == "answer.longest_match"]
    gap = len(text) - len(cut)
    ends = [len((cut + " The end.")[: row.char_end - gap].encode()) - 1 for row in answer.itertuples()]
    assert answer["value"].tolist() == behind[ends].tolist()


def test_what_is_undefined_has_a_row_and_a_reason(tiny: LoadedModel):
    index = build_index(CORPUS)
    items = [item(0, "the cat"), item(1, ""), item(2, "the zebra")]
    asked = ["ngram_coverage(13)", "ngram_log_count(13)", "bits_per_byte"]
    tables = measure_familiarity(tiny, items, asked, sources=Sources(index=index))
    assert values(tables.familiarity, "ngram_coverage(13)").keys() == {"toys:0", "toys:2"}
    assert all(math.isnan(value) for value in values(tables.familiarity, "ngram_coverage(13)").values())
    reasons = set(zip(tables.failures["example_id"], tables.failures["error"], strict=True))
    assert ("toys:0", "ngram_coverage(13): the text has 7 symbols, fewer than n = 13") in reasons
    assert ("toys:1", "empty prompt: it holds no token besides special ones") in reasons
    assert ("toys:2", "bits_per_byte: 1 tokens stand for text that the tokenizer cannot write") in reasons
    assert set(tables.failures["stage"]) == {"familiarity"}


def test_a_measure_without_its_source_is_refused(tiny: LoadedModel):
    with pytest.raises(InputError, match=r"longest_match needs index: hand it in with Sources\(index=...\)"):
        measure_familiarity(tiny, TEXTS, ["longest_match"])


def test_token_ids_have_no_bytes_but_surprisals(tiny: LoadedModel):
    from probes.familiarity.surprisals import read_surprisals

    text = read_text(tiny, [1, 2, 3, 4])
    assert text.characters("prompt") is None
    assert math.isnan(text.n_bytes("prompt"))
    assert np.isfinite(read_surprisals(tiny, [text.prompt])[0].surprisal[1:]).all()


def test_known_states_are_near_and_an_items_own_is_left_out(tiny: LoadedModel):
    known = remember(
        tiny,
        {f"toys:{n}": text for n, text in enumerate(CORPUS)},
        site="resid_post.0",
        background=["a mat", "six five", "two"],
    )
    asked = ["knn_distance(1)", "knn_distance(3)", "mahalanobis", "relative_mahalanobis"]
    inside = [item(n, text) for n, text in enumerate(CORPUS)]
    others = [Item("other:0", Example(text=CORPUS[0]))]
    tables = measure_familiarity(tiny, inside + others, asked, sources=Sources(states=known), per_token=True)
    found = values(tables.familiarity, "knn_distance(1)")
    assert found["other:0"] == pytest.approx(0, abs=REBATCHED)
    assert min(found[f"toys:{n}"] for n in range(3)) > 1e-3
    assert math.isnan(values(tables.familiarity, "knn_distance(3)")["toys:0"])
    assert "knn_distance(3): fewer than k = 3 known states of other items" in set(tables.failures["error"])
    assert np.isfinite(list(values(tables.familiarity, "relative_mahalanobis").values())).all()
    own = tables.familiarity_tokens
    last = own[(own["measure"] == "mahalanobis")].groupby("example_id", observed=True)["value"].last()
    assert last.to_dict() == pytest.approx(values(tables.familiarity, "mahalanobis"))


def test_states_are_those_that_hooks_show(tiny: LoadedModel):
    from probes.capture import encode
    from probes.vocabulary.sites import resolve_sites

    prompts = [encode(tiny, text) for text in TEXTS]
    (site,) = resolve_sites(tiny, ["final_norm"])
    found = read_states(tiny, prompts, site, [[0, len(p.ids) - 1] for p in prompts])
    for prompt, states in zip(prompts, found, strict=True):
        from probes.capture.prompts import pad

        output = tiny.run(pad([prompt], tiny.pad_id)).last_hidden_state[0]
        np.testing.assert_allclose(states, output[[0, -1]].numpy(), rtol=LOGITS, atol=REBATCHED)
    with pytest.raises(InputError, match="name one layer"):
        remember(tiny, {"a": "the cat"}, site="resid_post")


def test_the_laboratory_tells_exposure(tiny: LoadedModel):
    world = build_world(np.random.default_rng(0), multiples=(0, 1, 2), unit=5, n_tails=2)
    items = [Item(f"lab:{n}", Example(text=fact.prompt, target=fact.tail)) for n, fact in enumerate(world.facts)]
    sources = Sources(exposures=exposures_of(world))
    found = measure_familiarity(tiny, [*items, item(0, "the cat")], ["exposure"], sources=sources)
    own = values(found.familiarity, "exposure")
    assert [own[f"lab:{n}"] for n in range(len(world.facts))] == world.exposures.tolist()
    assert math.isnan(own["toys:0"])
    assert "exposure: not a fact of this world" in set(found.failures["error"])
