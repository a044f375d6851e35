"""Several models in one sweep: each read its own way and known by a name of its own, undefined values counted."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from analyses.data.panels import model_labels
from probes import open_run, run_sweep
from probes.errors import InputError
from probes.sweep.spec import ModelEntry, SweepSpec
from tests.trained import MODEL

TEXTS = '{"text": "Once upon a time"}\n{"text": "The dog ran to the park"}\n'


@pytest.fixture
def spec(tmp_path) -> dict[str, object]:
    """Two models of one name; the second has a chat template, is asked for it, and overflows in its last block."""
    for folder in ("a", "b"):
        shutil.copytree(MODEL, tmp_path / folder / "checkpoint")
    second = tmp_path / "b" / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(second)
    tokenizer.chat_template = "{% for m in messages %}<s>one {{ m.content }} two{% endfor %}"
    tokenizer.save_pretrained(second)
    weights = load_file(second / "model.safetensors")
    weights["model.layers.3.mlp.down_proj.weight"].fill_(torch.inf)
    save_file(weights, second / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "texts.jsonl").write_text(TEXTS)
    return {
        "models": [str(tmp_path / "a" / "checkpoint"), {"name": str(second), "template": "chat"}],
        "suites": [{"file": str(tmp_path / "texts.jsonl"), "name": "mine", "prompt": "text"}],
        "sites": ["resid_post.0", "final_norm"],
        "metrics": ["hoyer"],
        "controls": "none",
        "outcomes": [],
    }


def test_two_models_of_one_name_are_two_and_each_has_its_template(tmp_path, spec):
    seen = set()
    result = run_sweep(spec, tmp_path / "out", on_progress=lambda progress: seen.add(progress.run))
    assert seen == {"a/checkpoint x mine", "b/checkpoint x mine"}
    run = open_run(tmp_path / "out")
    assert sorted(model_labels(run.runs())) == ["a/checkpoint", "b/checkpoint"]
    (call,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["sessions"]
    assert set(call["runs"]) == seen
    lengths = run.inputs().merge(run.runs()[["run_id", "model"]], on="run_id").groupby("model").n_tokens.sum()
    assert lengths.iloc[1] > lengths.iloc[0], "the template's words stand around the text of the second model only"
    values = run.measurements()
    broken = values.value.isna()
    assert set(values[broken].site) == {"final_norm"}
    assert (result.n_values, result.n_undefined) == (len(values), int(broken.sum())) == (8, 2)


def test_one_torn_model_among_several_ends_the_sweep_before_anything_is_measured(tmp_path, spec):
    torn = tmp_path / "b" / "checkpoint" / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"b/checkpoint' is not whole: model.safetensors") as caught:
        run_sweep(spec, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "commits").exists()


def test_a_model_named_twice_goes_by_what_else_is_said_of_it():
    entries = (ModelEntry(name="x/m"), ModelEntry(name="x/m", template="chat"), ModelEntry(name="y/m"))
    spec = SweepSpec.model_construct(models=entries)
    assert spec.model_names() == ("x/m", "x/m (template chat)", "y/m")
