"""Corpora that others have indexed give the counts, matches and measures of our own index of the same tokens."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.corpus import Tokens, build_index, open_index
from probes.corpus.engines import Engine
from probes.corpus.matching import match_ahead
from probes.errors import InputError
from probes.familiarity import Sources, measure_familiarity
from probes.familiarity.definitions import parse_familiarity
from probes.models import LoadedModel

DOCUMENTS = ["the cat sat on the mat", "the dog ran under the tree", "one dog saw two cat", "cat cat cat cat"]
END = 200  # a token that no text holds
MEASURES = ["text_count", "ngram_log_count(2)", "longest_match", "infinity_gram", "ngram_coverage(2)"]


def write_tokengrams(folder: Path, texts: list[list[int]]) -> dict[str, object]:
    tokengrams = pytest.importorskip("tokengrams", reason="needs the extra `tokengrams`")
    stream = np.concatenate([[*ids, END] for ids in texts]).astype("<u2")
    stream.tofile(folder / "tokens.bin")
    tokengrams.MemmapIndex.build(str(folder / "tokens.bin"), str(folder / "tokens.idx"), vocab=END + 1)
    return {"engine": "tokengrams", "tokens": "tokens.bin", "table": "tokens.idx", "vocabulary": END + 1}


def write_infini_gram(folder: Path, texts: list[list[int]]) -> dict[str, object]:
    """Version 4 of the format: a separator before every document, pointers of as few bytes as will do."""
    pytest.importorskip("infini_gram", reason="needs the package infini-gram")
    stream = b"".join(b"\xff\xff" + np.array(ids, dtype="<u2").tobytes() for ids in texts)
    starts = np.cumsum([0, *(2 * len(ids) + 2 for ids in texts)])[:-1]
    pointers = sorted(range(0, len(stream), 2), key=lambda at: stream[at:])
    n_bytes = (len(stream) - 1).bit_length() // 8 + 1
    (folder / "tokenized.0").write_bytes(stream)
    (folder / "table.0").write_bytes(b"".join(at.to_bytes(n_bytes, "little") for at in pointers))
    (folder / "offset.0").write_bytes(starts.astype("<u8").tobytes())
    return {"engine": "infini-gram", "directory": ".", "end": END, "dtype": "u16"}


@pytest.fixture(params=[write_tokengrams, write_infini_gram])
def declared(request, tiny: LoadedModel, tmp_path: Path) -> Path:
    alphabet = Tokens(tiny.tokenizer)
    facts = request.param(tmp_path, [ids.tolist() for ids in alphabet.ids(DOCUMENTS)])
    path = tmp_path / "engine.json"
    path.write_text(json.dumps({**facts, "name": "theirs", "alphabet": alphabet.identity}))
    return path


def test_counts_and_matches_are_those_of_our_own_index(tiny: LoadedModel, declared: Path):
    alphabet = Tokens(tiny.tokenizer)
    ours, theirs = build_index(DOCUMENTS, alphabet=alphabet), open_index(declared, tokenizer=tiny.tokenizer)
    assert isinstance(theirs, Engine)
    for n in (1, 2, 3):
        words = ["the", "cat", "dog", "sat", "on"]
        for gram in itertools.product(words, repeat=n):
            ids = ours.ids(" ".join(gram))
            one = (ids, np.zeros(1, dtype=np.int64), np.array([len(ids)]))
            assert theirs.count(theirs.patterns(*one)) == ours.count(ours.patterns(*one)), gram
    for text in ("the cat sat on the tree", "cat cat cat", "mat the dog ran under the mat"):
        ids = ours.ids(text)
        assert match_ahead(theirs, ids).tolist() == match_ahead(ours, ids).tolist()


def test_measures_are_those_of_our_own_index(tiny: LoadedModel, declared: Path):
    texts = ["the cat sat on the tree", "two cat", "mat the dog ran under the mat"]
    ours = build_index(DOCUMENTS, alphabet=Tokens(tiny.tokenizer), name="theirs")
    found = [
        measure_familiarity(tiny, texts, MEASURES, sources=Sources(index=index), per_token=True)
        for index in (ours, open_index(declared, tokenizer=tiny.tokenizer))
    ]
    specs = parse_familiarity(MEASURES)
    assert len(found[0].familiarity) == len(texts) * len(specs)
    for one, other in zip(*found, strict=True):
        assert one.equals(other)


def test_what_is_no_engine_or_of_another_tokenizer_is_one_line(tiny: LoadedModel, tmp_path: Path):
    path = tmp_path / "engine.json"
    own = {"name": "x", "alphabet": Tokens(tiny.tokenizer).identity}
    for facts, message in (
        ({"engine": "grep"}, "declares no corpus engine"),
        ({**own, "engine": "tokengrams", "tokens": "a", "table": "b"}, "needs the key 'vocabulary'"),
        ({**own, "engine": "tokengrams", "tokens": "a", "table": "b", "vocabulary": 9}, "no file .*a, which"),
        ({**own, "engine": "tokengrams", "tokens": "a", "table": "b", "vocabulary": 9, "alphabet": "tokenizer:0"},
         "was built with tokenizer:0, not with tokenizer:"),
    ):  # fmt: skip
        path.write_text(json.dumps(facts))
        with pytest.raises(InputError, match=message):
            open_index(path, tokenizer=tiny.tokenizer)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    import sys

    from probes.extras import extra

    monkeypatch.setitem(sys.modules, "infini_gram.engine", None)
    with pytest.raises(InputError, match=r"needs the package infini_gram, which is not installed: pip install"):
        extra("infini_gram.engine")
