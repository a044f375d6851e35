"""First specs run as they are written, and the schema says of a spec what its reader says."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from probes.commands.spec_file import FIRST_SPEC, full_spec, spec_schema
from probes.errors import InputError
from probes.sweep.spec import SweepSpec, parse_spec

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*/*.md")]
GOOD = {
    "short forms": {"models": ["m"], "suites": ["lab_exposure"], "sites": "final_norm", "familiarity": "zlib_ratio"},
    "long forms": {
        "models": [{"name": "m", "dtype": "bfloat16"}],
        "suites": [
            {"name": "text_domains", "in": {"a": "a.txt"}, "shifted": {"b": {"file": "b.txt", "passage": 9}}},
            {"name": "noisy", "shift": "typos", "levels": [0, 0.1], "of": {"file": "t.jsonl", "prompt": "q"}},
        ],
    },
}
BAD = {
    "a key that is not known": {"models": ["m"], "suites": ["lab_exposure"], "sits": "final_norm"},
    "no model": {"models": [], "suites": ["lab_exposure"]},
    "a number below its least": {"models": ["m"], "suites": ["lab_exposure"], "limit": 0},
    "a word that is none of the choices": {"models": ["m"], "suites": ["lab_exposure"], "bos": "perhaps"},
}


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(spec_schema())


@pytest.mark.parametrize("written", [FIRST_SPEC, full_spec()], ids=["first", "full"])
def test_a_first_spec_asks_the_shipped_model(written, tmp_path, schema):
    raw = yaml.safe_load(written)
    schema.validate(raw)
    spec = parse_spec(raw, folder=tmp_path)
    assert [Path(model.name).is_dir() for model in spec.models] == [True]
    assert spec.seed == 0


def test_the_first_spec_has_five_lines_and_the_full_one_every_key():
    assert len(FIRST_SPEC.splitlines()) == 5
    assert list(yaml.safe_load(full_spec())) == list(SweepSpec.model_fields)


def test_a_full_spec_is_the_same_sweep_as_one_without_its_defaults(tmp_path):
    least = {"models": ["lab-reference"], "suites": ["lab_exposure"]}
    assert parse_spec(yaml.safe_load(full_spec()), folder=tmp_path) == parse_spec(least, folder=tmp_path)


@pytest.mark.parametrize("case", GOOD)
def test_the_schema_allows_what_the_reader_allows(case, schema, tmp_path):
    schema.validate(GOOD[case])
    parse_spec(GOOD[case], folder=tmp_path)


@pytest.mark.parametrize("case", BAD)
def test_the_schema_refuses_what_the_reader_refuses(case, schema, tmp_path):
    assert not schema.is_valid(BAD[case])
    with pytest.raises(InputError):
        parse_spec(BAD[case], folder=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_schema_allows_the_specs_of_the_documentation(page, schema):
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        schema.validate({"models": ["lab-reference"]} | yaml.safe_load(block))


def test_every_key_is_described(schema):
    undescribed = [key for key, wanted in schema.schema["properties"].items() if "description" not in wanted]
    assert undescribed == []
