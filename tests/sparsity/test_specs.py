"""Names in text: one grammar, one written form, and errors that help."""

import importlib
import pickle
import subprocess
import sys

import pytest

import sparsity
from sparsity import METRICS, MetricSpec, Registry, UnknownNameError, parse_metrics
from tests.sparsity.cases import ALL


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_what_is_written_reads_back(spec: MetricSpec):
    assert MetricSpec.parse(str(spec)) == spec
    assert MetricSpec.parse(spec.versioned) == spec
    assert spec.versioned == f"{spec}@{spec.record.version}"


@pytest.mark.parametrize("text", ["top_k_energy(0.10)", " top_k_energy ( .1 ) ", "top_k_energy(1e-1)@1"])
def test_spellings_of_one_measure_are_one_spec(text: str):
    assert str(MetricSpec.parse(text)) == "top_k_energy(0.1)"


def test_whole_numbers_are_written_short():
    assert str(MetricSpec.parse("pq_index(1.0, 2)")) == "pq_index(1, 2)"
    assert str(MetricSpec("near_zero_fraction", (0.05, "max"))) == "near_zero_fraction(0.05, max)"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("top_k_energy", r"expects top_k_energy\(fraction\), got 'top_k_energy'"),
        ("top_k_energy(0.1, 2)", r"expects top_k_energy\(fraction\)"),
        ("top_k_energy(fraction=0.1)", "with numbers, got 'fraction=0.1'"),
        ("top_k_energy(2)", r"a number in \(0, 1\), got 2.0"),
        ("gini(1)", "gini without parameters"),
        ("gini@7", "at version 1 here, got version 7"),
        ("gini; import os", "is written name or name"),
        ("", "is written name or name"),
        ("near_zero_fraction(0.1, mean)", "'rms' or 'max', got 'mean'"),
    ],
)
def test_bad_text_is_refused_with_what_was_expected(text: str, complaint: str):
    with pytest.raises(ValueError, match=complaint) as caught:
        MetricSpec.parse(text)
    assert "\n" not in str(caught.value)


def test_unknown_names_suggest_and_survive_a_process_boundary():
    with pytest.raises(UnknownNameError, match=r"no metric is called 'ginni'; did you mean 'gini'\?") as caught:
        parse_metrics(["hoyer", "ginni"])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 -- our own bytes
    assert isinstance(caught.value, KeyError)


def test_default_stands_for_the_default_set_and_nothing_is_asked_for_twice():
    assert parse_metrics("default") == sparsity.DEFAULT_METRICS
    assert parse_metrics(["default", "kurtosis"])[-1] == MetricSpec("kurtosis")
    with pytest.raises(ValueError, match=r"top_k_energy\(0.1\) is asked for twice"):
        parse_metrics(["top_k_energy(0.1)", "top_k_energy(.10)"])
    with pytest.raises(ValueError, match="gini is asked for twice"):
        parse_metrics(["default", "gini"])


def test_a_registry_never_forgets_or_replaces():
    registry: Registry[int] = Registry("thing")
    registry.add("one", 1)
    with pytest.raises(ValueError, match="the thing 'one' is registered already"):
        registry.add("one", 2)
    assert dict(registry) == {"one": 1}
    with pytest.raises(UnknownNameError, match="no thing is called 'zebra'; known: one"):
        registry["zebra"]


def test_a_registry_fills_itself_from_its_package_when_it_is_read(tmp_path, monkeypatch):
    inner = tmp_path / "filling" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "filling" / "__init__.py").write_text(
        "from sparsity import Registry\nTHINGS = Registry('thing', 'filling')"
    )
    (inner / "__init__.py").write_text("")
    (inner / "one.py").write_text("from filling import THINGS\nTHINGS.add('one', 1)")
    monkeypatch.syspath_prepend(tmp_path)
    assert dict(importlib.import_module("filling").THINGS) == {"one": 1}


@pytest.mark.parametrize("record", METRICS.values(), ids=lambda record: record.name)
def test_every_measure_states_its_promises(record: sparsity.Metric):
    doc = record.function.__doc__ or ""
    assert record.summary.endswith(".")
    assert ".. math::" in doc
    assert ">>>" in doc
    assert "NaN" in doc
    assert "igher" in doc or "LOWER" in doc or record.sparser is None
    assert record.source
    assert record.equation
    assert set(record.axioms) == {"magnitude", "energy"}
    assert getattr(sparsity, record.name) is record.function


def test_importing_is_light():
    code = "import sys, sparsity; print([m for m in ('torch', 'scipy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
