"""Models whose weights wait in memory and on disk: the numbers of the undivided model, from a spec."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from probes.errors import InputError
from probes.models import load_model
from probes.models.devices import in_words, is_spread, weight_of
from probes.records import open_run
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.probes.conftest import tiny_llama as _tiny_llama  # pyright: ignore[reportUnknownVariableType]


def half_on_disk(directory: Path) -> dict[str, str | int]:
    """The ends of a model and every other block on disk, the rest in memory."""
    model = load_model(str(directory))
    layers = {f"model.layers.{at}": "disk" if at % 2 == 0 else "cpu" for at in range(model.n_layers)}
    ends = dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), "disk")
    return {**layers, **ends, "model.rotary_emb": "cpu"}


def test_a_sweep_of_a_spread_model_is_that_of_the_whole_one(
    make_spec: MakeSpec, tiny_model: Path, tmp_path: Path
) -> None:
    """Sparsity, controls with readout and pins, populations, the untrained model, density, generation: to the byte."""
    asked: dict[str, Any] = {
        "n": 8,
        "sites": ["resid_post", "mlp_post", "final_norm"],
        "positions": ["last", "mean"],
        "controls": "default",
        "controls_budget": "unlimited",
        "nulls": ["untrained"],
        "density": [0.1],
        "generate": {"tokens": 3, "per_group": 1},
    }
    run_sweep(make_spec(**asked), tmp_path / "whole")
    entry = {"name": str(tiny_model), "device_map": half_on_disk(tiny_model)}
    run_sweep(make_spec(**asked, models=[entry]), tmp_path / "spread")
    whole, spread = (open_run(tmp_path / name) for name in ("whole", "spread"))
    (run,) = spread.runs().itertuples()
    assert (run.device, run.status, run.run_id) == ("cpu + disk", "done", whole.runs()["run_id"].item())
    told = [one.facts(str(run.run_id)).controls for one in (whole, spread)]
    assert told[0]["skipped"] == told[1]["skipped"]
    pairs = [
        (whole.measurements(basis=None), spread.measurements(basis=None)),
        (whole.token_measurements(basis=None), spread.token_measurements(basis=None)),
        (whole.populations(), spread.populations()),
        (whole.outcomes(), spread.outcomes()),
    ]
    for one, other in pairs:
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_categorical=False)
    assert set(spread.measurements(basis=None)["basis"]) >= {"raw", "untrained", "tails"}
    assert len(spread.token_measurements(basis="generated"))


def test_weights_wait_on_disk_and_are_there_when_asked_for(tiny_model: Path) -> None:
    whole, spread = load_model(str(tiny_model)), load_model(str(tiny_model), device=half_on_disk(tiny_model))
    assert is_spread(spread.module)
    assert any(weight.is_meta for weight in spread.module.parameters())
    for name in ("model.norm", "lm_head", "model.layers.0.mlp.down_proj"):
        found = weight_of(spread.module.get_submodule(name))
        assert found is not None
        assert torch.equal(found, cast("Any", whole.module.get_submodule(name)).weight), name
    assert spread.module.get_submodule("model.norm").weight.is_meta, "asking leaves nothing in memory"
    assert weight_of(torch.nn.ReLU()) is None
    assert spread.fingerprint == whole.fingerprint


def test_converted_weights_have_a_folder_that_goes_with_the_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = load_model(str(tiny_model), device={"": "disk"}, dtype="bfloat16")
    (folder,) = tmp_path.glob("sparsity-offload-*")
    assert model.run is not None
    del model
    gc.collect()
    assert not folder.exists()


def test_auto_takes_what_there_is(make_spec: MakeSpec, tiny_model: Path, tmp_path: Path) -> None:
    spec = make_spec(n=3, positions=["last"], models=[{"name": str(tiny_model), "device_map": "auto"}])
    run_sweep(spec, tmp_path / "auto")
    run_sweep(make_spec(n=3, positions=["last"]), tmp_path / "plain")
    found, plain = (open_run(tmp_path / name).measurements() for name in ("auto", "plain"))
    assert open_run(tmp_path / "auto").runs()["device"].item() == "auto"
    if not torch.cuda.is_available():
        np.testing.assert_array_equal(found["value"], plain["value"])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model.layer.0": "cpu"}, r"device_map names 'model.layer.0', which is no module of it; did you mean 'model"),
        ({"model.norm": "gpu"}, "device_map puts 'model.norm' on 'gpu': Expected one of"),
        ({"model.norm": None}, r"device_map says nothing of model\.norm\.weight"),
    ],
)
def test_a_map_that_does_not_fit_is_one_line(
    changed: dict[str, str | None], says: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    cast("Any", _tiny_llama)().save_pretrained(tmp_path / "model")
    places = {**half_on_disk(tmp_path / "model"), **changed}
    entry = {"name": str(tmp_path / "model"), "device_map": {name: at for name, at in places.items() if at is not None}}
    with pytest.raises(InputError, match=says) as caught:
        run_sweep(make_spec(models=[entry]), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_places_in_words() -> None:
    assert in_words({"a": "disk", "b": 0}) == "0 + disk"
    assert in_words("cuda") == "cuda"
