"""Whatever comes in: a value, a recorded failure, or one line that says what was expected. Never another exception.

Inputs are valid ones with something broken in them, because random bytes alone are refused at the first gate. `make
prove` tries 1,000 of each kind.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sparsity
from analyses.cli import main
from probes.capture.prompts import encode
from probes.cli import app
from probes.errors import InputError
from probes.models.loading import load_model
from probes.records import open_run
from probes.suites.files import FileSuite
from probes.sweep.run import run_sweep
from probes.sweep.spec import load_spec, parse_spec
from sparsity import METRICS, MetricSpec, UnknownNameError

GATE, LONG = 200, 1000
COUNTS = [pytest.param(GATE // 6, id="gate"), pytest.param(LONG, id="full", marks=pytest.mark.long)]

CAME = "{n} generated {what}, most of them broken somewhere: each gave a value or one line of refusal."
Proof = Callable[[str], None]

# every character, lone surrogates and control characters included
anything = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["\ud83d", "\x00", "\ufeff", "{text}", "<s>", "</s>"]
)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | anything
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3), max_leaves=5
)
SPEC = {
    "models": ["lab-reference"],
    "suites": [
        {
            "file": "items.jsonl",
            "name": "mine",
            "prompt": "text",
            "answer": "answer",
            "level": "level",
            "axis": "steps",
        },
        {"name": "text_domains", "in": {"a": "a.txt"}, "shifted": {"b": {"file": "b.txt", "passage": 9}}},
        {"name": "noisy", "shift": "typos", "levels": [0, 0.1], "of": {"file": "items.jsonl", "prompt": "text"}},
    ],
    "sites": ["resid_post.3", "final_norm"],
    "positions": ["last", "5:10", "/a+/"],
    "metrics": ["hoyer", "top_k_energy(0.1)"],
    "familiarity": {"measures": ["zlib_ratio"], "tokens": True},
    "controls": "none",
    "template": "none",
    "limit": 3,
    "seed": 0,
}
ROWS = [
    {"id": str(i), "text": f"the cat sat {i}", "answer": "mat", "level": i, "choices": ["a", "b"]} for i in range(4)
]
MAPS = [
    {"prompt": "text"},
    {"prompt": "text", "id": "id", "answer": "answer", "level": "level", "axis": "steps"},
    {"prompt": "Q: {text}\n{choices}", "choices": "choices", "answer": "answer"},
    {"prompt": "text", "split": "answer", "cluster": "level"},
]


def many(n: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many examples, the same ones on every machine."""
    return settings(
        max_examples=n, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


@st.composite
def broken(draw: st.DrawFn, whole: object) -> object:
    """A value of plain types in which something was replaced, left out or added, anywhere."""
    if isinstance(whole, dict) and whole and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(whole)))
        kind = draw(st.sampled_from(["inside", "inside", "gone", "added"]))
        if kind == "gone":
            return {name: value for name, value in whole.items() if name != key}
        if kind == "added":
            return {**whole, draw(anything): draw(values)}
        return {**whole, key: draw(broken(whole[key]))}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        at = draw(st.integers(0, len(whole) - 1))
        return [draw(broken(value)) if i == at else value for i, value in enumerate(whole)]
    return draw(values)


def says_why(run: Callable[[], object]) -> None:
    """Run it; a refusal is one line with something in it."""
    said = "ran"
    try:
        run()
    except (InputError, UnknownNameError) as refusal:
        said = str(refusal)
    assert said.strip()
    assert len(said.splitlines()) == 1


def written(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("n", COUNTS)
def test_specs(n: int, tmp_path: Path, proof: Proof) -> None:
    path = tmp_path / "spec.yaml"

    @many(n)
    @given(broken(SPEC) | st.just(SPEC), st.binary(max_size=20), st.integers(0, 3))
    def run(raw: object, noise: bytes, kind: int) -> None:
        says_why(lambda: parse_spec(raw, folder=tmp_path))
        text = written(yaml.safe_dump(raw, allow_unicode=True))
        path.write_bytes([text, text + noise, noise, text[: len(text) // 2]][kind])
        says_why(lambda: load_spec(path))

    run()
    proof(CAME.format(n=n, what="specs"))


def items_of(path: Path, fields: dict[str, object]) -> None:
    suite = FileSuite.model_validate({"file": str(path), "name": "mine", **fields}).suite()
    for item in suite.items(np.random.default_rng(0)):
        item.example.text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("n", COUNTS)
def test_json_lines(n: int, tmp_path: Path, proof: Proof) -> None:
    rows = st.lists(st.sampled_from(ROWS) | broken(ROWS[1]), max_size=4)
    endings = st.sampled_from(["jsonl", "json", "jsonl.gz", "jsonl.zst"])

    @many(n)
    @given(rows, st.sampled_from(MAPS), st.binary(max_size=8), endings)
    def run(found: list[object], fields: dict[str, object], noise: bytes, ending: str) -> None:
        path = tmp_path / f"items.{ending}"
        path.write_bytes(b"\n".join(json.dumps(row).encode() for row in found) + noise)
        says_why(lambda: items_of(path, fields))

    run()
    proof(CAME.format(n=n, what="JSONL files"))


@pytest.mark.parametrize("n", COUNTS)
def test_tables(n: int, tmp_path: Path, proof: Proof) -> None:
    cells = st.lists(st.lists(anything, min_size=1, max_size=4), max_size=4)

    @many(n)
    @given(cells, st.sampled_from(MAPS), st.binary(max_size=8), st.sampled_from(["csv", "tsv", "txt", "parquet"]))
    def run(rows: list[list[str]], fields: dict[str, object], noise: bytes, ending: str) -> None:
        sheet = io.StringIO()
        writer = csv.writer(sheet, delimiter="\t" if ending == "tsv" else ",")
        writer.writerows([["text", "answer", "level", "choices"], *rows])
        path = tmp_path / f"items.{ending}"
        path.write_bytes(written(sheet.getvalue()) + noise)
        says_why(lambda: items_of(path, fields))

    run()
    proof(CAME.format(n=n, what="tables"))


@pytest.mark.parametrize("n", COUNTS)
def test_prompts(n: int, tiny_model: Path, proof: Proof) -> None:
    model = load_model(str(tiny_model))
    words = st.lists(st.sampled_from(["the", "cat", "sat", "<s>", "<unk>"]) | anything, max_size=40).map(" ".join)

    @many(n)
    @given(words, st.none() | anything, st.none() | st.integers(1, 40), st.sampled_from(["auto", "add", "none"]))
    def run(text: str, target: str | None, most: int | None, bos: str) -> None:
        def read() -> None:
            prompt = encode(model, text, target=target, max_tokens=most, bos=bos)
            assert len(prompt.ids) == len(prompt.char_starts) > 0
            assert len(prompt.ids) <= model.context_length
            assert all(0 <= token < model.vocabulary for token in prompt.ids)

        says_why(read)

    run()
    proof(CAME.format(n=n, what="prompts"))


@pytest.mark.parametrize("n", COUNTS)
def test_states(n: int, proof: Proof) -> None:
    names = [name for name, metric in METRICS.items() if not metric.parameters]
    shapes = st.lists(st.integers(0, 5), min_size=0, max_size=3).map(tuple)
    types = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_, np.complex64, object])
    extremes = st.sampled_from([0.0, -0.0, 1.0, -2.5, 6e4, 1e-8, 1e38, 1e300, math.inf, -math.inf, math.nan])

    @many(n)
    @given(shapes, types, st.lists(extremes, min_size=1, max_size=9), st.sampled_from(names))
    def run(shape: tuple[int, ...], kind: type, filling: list[float], name: str) -> None:
        with np.errstate(all="ignore"):
            x = np.resize(np.array(filling), shape).astype(kind)
        try:
            found = getattr(sparsity, name)(x)
        except (ValueError, TypeError) as refusal:
            found, why = None, str(refusal)
        if found is None:
            assert name in why
            return
        assert found.shape == shape[:-1]
        undefined = ~np.isfinite(np.asarray(x, dtype=np.float64)).all(axis=-1)
        assert np.isnan(found[undefined]).all(), "a vector that is not finite has no measure"

    run()
    proof(CAME.format(n=n, what="arrays of states"))


@pytest.mark.parametrize("n", COUNTS)
def test_names_of_metrics(n: int, proof: Proof) -> None:
    pieces = st.sampled_from(["hoyer", "top_k_energy", "(", ")", "0.1", ",", "p=", "@1", "nan", "-1", "1e400", " "])

    @many(n)
    @given(st.lists(pieces | anything, max_size=6).map("".join))
    def run(text: str) -> None:
        try:
            spec = MetricSpec.parse(text)
        except (UnknownNameError, ValueError) as refusal:
            spec, why = None, str(refusal)
        if spec is None:
            assert len(why.splitlines()) == 1
        else:
            assert MetricSpec.parse(str(spec)) == spec

    run()
    proof(CAME.format(n=n, what="names of metrics"))


@pytest.mark.parametrize("n", COUNTS)
def test_filters_of_readers(n: int, make_spec: Callable[..., object], tmp_path: Path, proof: Proof) -> None:
    run_sweep(make_spec(n=3), tmp_path / "run")
    records = open_run(tmp_path / "run")
    known = ("gini", "hoyr", "final_norm", "resid_post.1", "last", "mean", "items", "raw", "top_k_energy(0.10)")
    words = st.none() | st.sampled_from(known) | anything | st.lists(st.sampled_from(known), max_size=2)
    keys = ("metric", "site", "position", "suite", "basis")

    @many(n)
    @given(st.dictionaries(st.sampled_from(keys), words, max_size=3), st.none() | st.integers(-3, 9))
    def run(asked: dict[str, object], layer: int | None) -> None:
        says_why(lambda: records.measurements(**asked, layer=layer))

    run()
    proof(CAME.format(n=n, what="filters of readers"))


def every_command() -> list[tuple[str, ...]]:
    """The names of all commands that need more than their name: none of them begins to work on nothing."""

    def under(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, own in getattr(command, "commands", {}).items():
            yield from under(own, (*names, name))
        if any(parameter.required for parameter in command.params):
            yield names

    return list(under(typer.main.get_command(app), ()))


@pytest.mark.parametrize("n", COUNTS)
def test_commands(
    n: int,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    proof: Proof,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_bytes(b"\xff\xfe\x00")
    Path("empty").mkdir()
    Path("good.yaml").write_text(yaml.safe_dump({"models": [str(tiny_model)], "suites": ["lab_exposure"]}))
    paths = ["nowhere", "bad.txt", "empty", "good.yaml", str(tiny_model), ".", "/dev/null", ""]
    calls = (
        *(("list", "metrics"), ("list",), ("runs", "list"), ("runs", "check"), ("runs", "compact"), ("diff", "empty")),
        *(("report",), ("index", "query", "nowhere"), ("index", "build"), ("sweep", "--dry-run", "--out", "x")),
        *(("measure", "--text", "the cat"), ("measure", "--file"), ("verify",), ("freeze", "--out", "f", "good.yaml")),
        *(("lab", "world"), ("lab", "grade", "--limit", "1"), ("schema", "x"), ("init", "bad.txt")),
        *(("compress", "--out", "a"), ("compress", "good.yaml", "--out", "a", "--model"), ("decompress", "--out", "d")),
        *(
            ("compression", "--out", "c", "--model", "nowhere"),
            ("index", "query", "empty"),
            ("curriculum", "--out", "q"),
        ),
        *(("memory", "train", "nowhere", "--out", "m"), ("lab", "text")),
        *(("memory", "write", "nowhere", "empty"), ("memory", "evaluate", "--out", "e", "--model", "empty")),
        *every_command(),
    )
    # no NUL bytes and no surrogates: no shell can pass them
    words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6)
    options = st.sampled_from(
        ["--position", "--metrics", "--max-tokens", "--limit", "--set", "--dtype", "--seed", "-1"]
    )
    more = st.lists(st.sampled_from(paths) | words | options, max_size=3)

    @many(n)
    @given(st.sampled_from(calls), more)
    @example(("measure", "--text", "the cat"), ["nowhere", "--metrics", "bad.txt"])
    def run(call: tuple[str, ...], rest: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["sparsity", *call, *rest])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert left.value.code in (0, 1, 2, None), said.err
        assert "Traceback" not in said.err

    run()
    proof(CAME.format(n=n, what="command lines"))
