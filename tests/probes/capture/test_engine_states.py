"""States that another engine wrote: measured as if the model had run here, refused in one line where they are odd."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from probes.capture import collect
from probes.capture.engine_states import read_index
from probes.cli import app
from probes.errors import InputError
from probes.models import load_model
from probes.records import open_run
from tests.probes.conftest import tiny_llama
from tests.tolerances import REBATCHED

PROMPTS = [[1, 5, 9, 4, 7], [2, 8, 6], [3, 3, 9, 1, 4, 5, 6], [7, 7, 2, 1]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What plain transformers shows of four prompts, as vLLM would write it: layers 1 and 3 of 3."""
    folder = tmp_path_factory.mktemp("states")
    module = tiny_llama()
    lines = []
    for number, ids in enumerate(PROMPTS):
        shown = []
        hooks = [layer.register_forward_hook(lambda *a, s=shown: s.append(a[-1])) for layer in module.model.layers]
        with torch.no_grad():
            module(torch.tensor([ids]))
        for hook in hooks:
            hook.remove()
        kept = [(one[0] if isinstance(one, tuple) else one)[0] for one in shown]
        states = torch.stack([kept[0], kept[2]], dim=1).contiguous()
        save_file({"hidden_states": states, "token_ids": torch.tensor(ids)}, folder / f"{number}.safetensors")
        lines.append({"file": f"{number}.safetensors", "id": f"p{number}", "level": number % 2})
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_the_numbers_are_those_of_the_model(written: Path, tmp_path: Path) -> None:
    asked = ["measure-states", str(written / "index.jsonl"), "--sites", "resid_post.0 resid_post.2"]
    more = ["--metrics", "hoyer gini", "--out", str(tmp_path / "run"), "--axis", "steps", "--model", "tiny"]
    result = CliRunner().invoke(app, [*asked, *more])
    assert result.exit_code == 0, result.output
    run = open_run(tmp_path / "run")
    here = collect(
        load_model(tiny_llama()), PROMPTS, ["resid_post.0", "resid_post.2"], ["last", "mean"], ["hoyer", "gini"]
    )
    keys = ["site", "layer", "position", "metric"]
    rows = run.measurements()
    rows = rows.assign(example_id=rows["example_id"].astype(str).str.removeprefix("states:p"))
    both = rows.merge(here.astype({"example_id": str}), on=["example_id", *keys], suffixes=("", "_here"))
    assert len(both) == len(rows) == len(here)
    np.testing.assert_allclose(both["value"], both["value_here"], rtol=REBATCHED)
    assert list(run.inputs()["n_tokens"]) == [len(ids) for ids in PROMPTS]
    assert run.width(str(run.runs()["run_id"].item()), "resid_post") == 32
    assert (
        f"{here[(here.layer == 2) & (here.position == 'last') & (here.metric == 'hoyer')]['value'].mean():.4f}"
        in result.output
    )
    again = CliRunner().invoke(app, [*asked, *more])
    assert "is not empty" in str(again.exception)


def test_tensors_named_by_site_in_bfloat16_are_read(tmp_path: Path) -> None:
    states = torch.randn(5, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_file({"resid_post.1": states, "final_norm": states * 2}, tmp_path / "one.safetensors")
    result = CliRunner().invoke(app, ["measure-states", str(tmp_path / "one.safetensors"), "--metrics", "l2_norm"])
    assert result.exit_code == 0, result.output
    assert f"{states[-1].float().norm():.4f}" in result.output
    assert f"{(2 * states[-1].float()).norm():.4f}" in result.output


def test_what_is_odd_is_said(written: Path, tmp_path: Path) -> None:
    def said(*arguments: object) -> str:
        result = CliRunner().invoke(app, ["measure-states", *map(str, arguments)])
        assert isinstance(result.exception, InputError), result.output
        return str(result.exception)

    one = written / "0.safetensors"
    assert "has shape (5, 2, 32), expected (tokens, sites, width) with 1 sites" in said(one, "--sites", "resid_post.0")
    (tmp_path / "torn.safetensors").write_bytes(one.read_bytes()[:40])
    assert "is no safetensors file that can be read" in said(tmp_path / "torn.safetensors")
    for line, message in (
        ("{", "line 1 is not JSON"),
        ('{"id": "a"}', 'expected an object with "file"'),
        ('{"file": "a", "lvl": 1}', "unknown field 'lvl'"),
        ('{"file": "a", "level": "one"}', "level should be a number"),
        ("", "names no file"),
    ):
        (tmp_path / "index.jsonl").write_text(line)
        with pytest.raises(InputError, match=message):
            read_index(tmp_path / "index.jsonl")
