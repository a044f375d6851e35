"""Corpus indexes: every answer equals the naive one, in bytes and tokens of every width, over shards and documents."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.corpus.alphabet import Bytes, Symbols, Tokens
from probes.corpus.corpora import build_index, open_index, read_corpus
from probes.corpus.index import CorpusIndex
from probes.corpus.matching import (
    count_ngram_documents,
    count_ngrams,
    covered,
    highlight,
    infinity_gram,
    match_ahead,
    match_behind,
    nearest_document,
)
from probes.errors import InputError
from probes.familiarity.ngrams import NGram
from probes.familiarity.predictor import Mixture, Uniform
from probes.models import LoadedModel
from tests.tolerances import FLOAT64


class Letters:
    """Characters as numbers of a chosen size: each width of symbol with bytes that repeat in other places."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.identity = f"letters {size}"

    def symbols(self, text: str) -> Symbols:
        # 0, 1, 256, 257 ...: tokens whose bytes would match at odd offsets if the search were not aligned
        table = {"a": 0, "b": min(1, self.size - 1), "c": min(256, self.size - 1), "d": min(65536, self.size - 1)}
        starts = np.arange(len(text), dtype=np.int32)
        return Symbols(np.array([table[c] for c in text], dtype=np.int64), starts, starts + np.int32(1))

    def ids(self, texts):
        return (self.symbols(text).ids for text in texts)


ALPHABETS = {1: Bytes(), 2: Letters(60000), 4: Letters(100000)}
WORD = st.text(alphabet="ab", max_size=24)
CORPUS = st.lists(st.text(alphabet="abc", max_size=30), min_size=1, max_size=5).filter(any)


def occurrences(documents: list[str], pattern: str) -> int:
    return sum(doc.startswith(pattern, i) for doc in documents for i in range(len(doc) + 1))


def one(index: CorpusIndex, text: str):
    ids = index.ids(text)
    return index.patterns(ids, np.zeros(1, dtype=np.int64), np.array([len(ids)]))


@pytest.mark.parametrize("width", [1, 2, 4])
@given(documents=CORPUS, queries=st.lists(st.text(alphabet="abcd", max_size=14), min_size=1, max_size=6))
def test_counts_are_those_of_overlapping_occurrences_within_documents(width, documents, queries):
    index = build_index(documents, alphabet=ALPHABETS[width], shard_symbols=20)
    assert index.width == width
    assert index.count_texts(queries).tolist() == [occurrences(documents, query) for query in queries]
    held = [sum(query in doc for doc in documents) if query else 0 for query in queries]
    counted = [int(index.count_documents(one(index, query))[0]) if query else 0 for query in queries]
    assert counted == held
    for query in filter(None, queries):
        numbers = [number for number, doc in enumerate(documents) if query in doc]
        assert index.documents_with(one(index, query))[0].tolist() == numbers


@given(st.integers(1, 40), st.integers(1, 40))
def test_overlaps_count(n, k):
    index = build_index(["a" * n])
    assert index.count_texts(["a" * k])[0] == max(n - k + 1, 0)


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4]))
def test_long_patterns_of_a_corpus_that_repeats_itself_are_counted(seed, width):
    rng = np.random.default_rng(seed)
    stretches = ["".join(rng.choice(list("ab"), 30)) for _ in range(3)]  # shared beginnings of four words and more
    documents = ["".join(stretches[i] for i in rng.integers(0, 3, 12)) for _ in range(3)]
    index = build_index(documents, alphabet=ALPHABETS[width], shard_symbols=800)
    text = "".join(documents) + "".join(rng.choice(list("ab"), 40))
    starts = rng.integers(0, len(text), 60)
    queries = [text[start : start + length] for start, length in zip(starts, rng.integers(1, 70, 60), strict=True)]
    assert index.count_texts(queries).tolist() == [occurrences(documents, query) for query in queries]


def test_no_match_reaches_over_a_border_or_out_of_the_corpus():
    index = build_index(["abc", "abd", ""])
    assert index.count_texts(["cab", "abdab", "bd\x00", "abd"]).tolist() == [0, 0, 0, 1]


@given(documents=CORPUS, text=st.text(alphabet="abc", max_size=20))
def test_longest_matches_equal_the_naive_ones_and_are_monotone(documents, text):
    index = build_index(documents, shard_symbols=25)
    ids = index.ids(text)
    ahead = match_ahead(index, ids)
    naive = [
        max(k for k in range(len(text) - i + 1) if occurrences(documents, text[i : i + k])) for i in range(len(text))
    ]
    assert ahead.tolist() == naive
    assert (np.diff(ahead) >= -1).all()
    behind = match_behind(ahead)
    assert behind.tolist() == [
        max(k for k in range(t + 2) if occurrences(documents, text[t + 1 - k : t + 1])) for t in range(len(text))
    ]
    assert (np.diff(behind) <= 1).all()


@given(documents=CORPUS, context=WORD)
def test_continuations_add_up_to_the_count_of_the_context(documents, context):
    index = build_index(documents, shard_symbols=25)
    found = index.next_counts(index.ids(context))
    assert found.counts.sum() + found.n_ends == index.count(one(index, context))[0]
    for symbol, n in zip(found.ids.tolist(), found.counts.tolist(), strict=True):
        assert occurrences(documents, context + chr(symbol)) == n
    assert found.n_ends == sum(doc.endswith(context) for doc in documents)


@given(documents=CORPUS, text=st.text(alphabet="abc", min_size=1, max_size=12))
def test_the_infinity_gram_is_the_longest_known_context(documents, text):
    index = build_index(documents)
    found = infinity_gram(index, index.ids(text))
    for t, symbol in enumerate(text):
        k = max(k for k in range(t + 1) if occurrences(documents, text[t - k : t]))
        context = text[t - k : t]
        assert found.context[t] == k
        assert found.seen[t] == occurrences(documents, context)
        assert found.probability[t] == occurrences(documents, context + symbol) / occurrences(documents, context)


@given(documents=CORPUS, text=st.text(alphabet="abc", max_size=15), n=st.integers(1, 6))
def test_ngrams_and_coverage(documents, text, n):
    index = build_index(documents)
    ids = index.ids(text)
    grams = [text[i : i + n] for i in range(len(text) - n + 1)]
    assert count_ngrams(index, ids, n).tolist() == [occurrences(documents, gram) for gram in grams]
    assert count_ngram_documents(index, ids, n).tolist() == [sum(gram in doc for doc in documents) for gram in grams]
    inside = [
        any(i <= t < i + n and occurrences(documents, gram) for i, gram in enumerate(grams)) for t in range(len(text))
    ]
    assert covered(count_ngrams(index, ids, n), n, len(ids)).tolist() == inside


@given(documents=CORPUS, texts=st.lists(st.text(alphabet="abc", max_size=9), max_size=4), n=st.integers(1, 4))
def test_texts_that_are_asked_together_are_answered_as_if_alone(documents, texts, n):
    index = build_index(documents, shard_symbols=25)
    alone = [index.ids(text) for text in texts]
    ids, bounds = np.concatenate([np.empty(0, dtype=np.int64), *alone]), np.cumsum([0, *map(len, texts)])
    ahead = match_ahead(index, ids, bounds)
    found = [
        ahead,
        match_behind(ahead),
        *infinity_gram(index, ids, ahead, bounds),
        count_ngrams(index, ids, n, bounds),
        count_ngram_documents(index, ids, n, bounds),
    ]
    expected = [
        (
            match_ahead(index, own),
            match_behind(match_ahead(index, own)),
            *infinity_gram(index, own),
            count_ngrams(index, own, n),
            count_ngram_documents(index, own, n),
        )
        for own in alone
    ]
    for together, parts in zip(found, zip(*expected, strict=True), strict=False):
        assert together.tolist() == np.concatenate(parts).tolist()


def test_the_nearest_document_shares_the_longest_stretch():
    index = build_index(["the cat sat", "a dog ran under the tree", "the cat ran"], shard_symbols=15)
    assert nearest_document(index, index.ids("my dog ran under")) == (1, 2, 14)
    assert nearest_document(index, index.ids("ÿ")) == (-1, 0, 0)
    assert bytes(index.document(1).tolist()) == b"a dog ran under the tree"
    with pytest.raises(InputError, match=r"documents 0\.\.2, got 3"):
        index.document(3)


@given(documents=CORPUS, text=st.text(alphabet="abcé漢", max_size=20), shortest=st.integers(1, 4))
def test_highlighted_spans_tile_the_text_and_count_what_they_hold(documents, text, shortest):
    documents = [*documents, "é漢é"]
    spans = highlight(build_index(documents), text, shortest=shortest)
    assert "".join(text[span.start : span.end] for span in spans) == text
    for span in spans:
        piece = text[span.start : span.end]
        assert span.n_symbols == len(piece.encode())
        if span.n_occurrences:
            assert span.n_occurrences == occurrences(documents, piece)
            assert span.n_documents == sum(piece in doc for doc in documents)
            assert span.n_symbols >= shortest
    assert not any(a.n_occurrences == b.n_occurrences == 0 for a, b in itertools.pairwise(spans))


@given(documents=CORPUS, text=WORD, order=st.integers(1, 4), unbounded=st.booleans())
def test_an_ngram_model_is_the_recursion_in_exact_arithmetic(documents, text, order, unbounded):
    from fractions import Fraction

    index = build_index(documents)

    def count(pattern: str) -> int:
        return occurrences(documents, pattern)

    def probability(context: str, symbol: str) -> Fraction:
        p = Fraction(1, 257)
        contexts = [context[len(context) - k :] for k in range(min(order, len(context) + 1))]
        longest = max(k for k in range(len(context) + 1) if count(context[len(context) - k :]))
        if unbounded and longest >= order:
            contexts.append(context[len(context) - longest :])
        for known in contexts:
            p = (count(known + symbol) + p) / (count(known) + 1)
        return p

    found = NGram(index, order, unbounded=unbounded).predict(text)
    exact = [probability(text[:t], symbol) for t, symbol in enumerate(text)]
    np.testing.assert_allclose(2**found.log2_p, [float(p) for p in exact], rtol=FLOAT64)


@pytest.mark.parametrize(("order", "unbounded", "contexts"), [(3, False, ["", "a", "ca"]), (1, True, ["", "ca"])])
def test_an_ngram_model_is_a_distribution_over_symbols_and_the_end(order, unbounded, contexts):
    index = build_index(["abcab", "cabd", "ca"])
    model = NGram(index, order, unbounded=unbounded)
    symbols = [2 ** float(model.predict("ca" + chr(byte)).log2_p[-1]) for byte in map(ord, "abcdz")]
    end = 1 / 257
    for context in contexts:
        found = index.next_counts(index.ids(context))
        end = (found.n_ends + end) / (found.n_ends + found.counts.sum() + 1)
    unseen = symbols.pop()
    assert sum(symbols) + (256 - len(symbols)) * unseen + end == pytest.approx(1, abs=FLOAT64)


def test_counting_beats_knowing_only_the_alphabet():
    index = build_index(["abcab", "cabd"])
    assert NGram(index, 2).bits("cab") < NGram(index, 1).bits("cab") < Uniform(Bytes()).bits("cab")
    mixed = Mixture([NGram(index, 2), NGram(index, 1)], [0.5, 0.5])
    assert mixed.name == "0.5 2-gram of corpus + 0.5 1-gram of corpus"
    assert NGram(index, 2).bits("cab") < mixed.bits("cab") < NGram(index, 1).bits("cab")


def test_an_index_is_frozen_on_disk(tmp_path: Path):
    documents = ["the cat sat on the mat", "naïve 漢字", "cat"]
    built = build_index(documents, name="toys", out=tmp_path / "index", shard_symbols=12)
    opened = open_index(tmp_path / "index")
    assert (opened.name, opened.identity, opened.n_documents, len(opened.shards)) == ("toys", "bytes", 3, 3)
    assert opened.n_symbols == sum(len(doc.encode()) for doc in documents)
    assert opened.count_texts(["cat", "漢"]).tolist() == built.count_texts(["cat", "漢"]).tolist() == [2, 1]
    assert isinstance(opened.shards[0].suffixes.suffixes, np.memmap)
    with pytest.raises(InputError, match="exists"):
        build_index(documents, out=tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def test_an_index_of_tokens_wants_its_own_tokenizer(tmp_path: Path, tiny: LoadedModel, stories: LoadedModel):
    texts = ["the cat sat on the mat", "the dog ran"]
    build_index(texts, alphabet=Tokens(tiny.tokenizer), out=tmp_path / "index")
    index = open_index(tmp_path / "index", tokenizer=tiny.tokenizer)
    assert index.count_texts(["the cat", "the", "mat the"]).tolist() == [1, 3, 0]
    with pytest.raises(InputError, match=r"was built with tokenizer:.*not with tokenizer:"):
        open_index(tmp_path / "index", tokenizer=stories.tokenizer)
    with pytest.raises(InputError, match="not with bytes"):
        open_index(tmp_path / "index", alphabet=Bytes())
    with pytest.raises(InputError, match="open it with that tokenizer"):
        open_index(tmp_path / "index").ids("the cat")


def test_what_is_no_index_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match="not a whole corpus index"):
        open_index(tmp_path)
    build_index(["abc"], out=tmp_path / "index")
    (tmp_path / "index" / "0000" / "suffixes.npy").unlink()
    with pytest.raises(InputError, match="not a whole corpus index"):
        open_index(tmp_path / "index")


@pytest.mark.parametrize("documents", [[], ["", ""]])
def test_an_empty_corpus_is_refused_and_leaves_nothing(tmp_path: Path, documents):
    with pytest.raises(InputError, match="is empty"):
        build_index(documents, out=tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_the_alphabet_does_not_have_is_refused():
    index = build_index(["abc"])
    with pytest.raises(InputError, match=r"0\.\.254, got 97\.\.255"):
        index.patterns(np.array([97, 255]), np.array([0]), np.array([2]))


def test_files_become_documents_and_faults_are_named(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\n\ntwo", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in ("x", "y\u2028z")) + "\n\n", encoding="utf-8"
    )
    assert list(read_corpus([tmp_path / "a.txt", tmp_path / "b.jsonl"])) == ["one\n\ntwo", "x", "y\u2028z"]
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"bad.txt, line 1: not UTF-8 \(byte 2 is 0xff\)"):
        list(read_corpus([tmp_path / "bad.txt"]))
    with pytest.raises(InputError, match=r"cannot read .*none.txt"):
        list(read_corpus([tmp_path / "none.txt"]))
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": [3]}\n')
    faults: list[str] = []
    assert list(read_corpus([tmp_path / "bad.jsonl"], on_fault=faults.append)) == ["a"]
    assert faults == [f"{tmp_path / 'bad.jsonl'}, line 2: field 'text' should be text and is list"]
    with pytest.raises(InputError, match=r"bad.jsonl, line 1: no field 'prompt'"):
        list(read_corpus([tmp_path / "bad.jsonl"], field="prompt"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    with pytest.raises(InputError, match=r"pip install 'activation-sparsity\[familiarity\]'"):
        build_index(["abc"])
