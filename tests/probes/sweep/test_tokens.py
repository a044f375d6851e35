"""Tokens of a sweep: massive ones can be seen wherever they stand, and left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from probes.errors import InputError
from probes.records import open_run
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.tolerances import STORED


@pytest.fixture
def sunk(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with one word, ``saw``, whose state is a thousand times as long."""
    folder = tmp_path / "sunk"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    saw = 2 + ["the", "a", "and", "cat", "dog", "mat", "tree", "sat", "ran", "on", "under", "saw"].index("saw")
    weights["model.embed_tokens.weight"][saw] *= 1000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_massive_tokens_are_flagged_and_leaving_them_out_is_position_typical(
    make_spec: MakeSpec, sunk: Path, tmp_path: Path
) -> None:
    places = {"sites": ["embed", "resid_post"], "positions": ["all", "typical"], "metrics": ["hoyer", "l2_norm"]}
    run_sweep(make_spec(models=[str(sunk)], **places), tmp_path / "run")
    run = open_run(tmp_path / "run")
    rows = run.token_measurements(flag_massive=True)
    assert rows["massive"].dtype == bool
    ids = run.inputs().set_index("example_id")["token_ids"]
    word = np.array([ids[item][token] for item, token in zip(rows["example_id"], rows["token"], strict=True)])
    embedded = (rows["site"] == "embed").to_numpy()
    np.testing.assert_array_equal(rows["massive"][embedded], word[embedded] == 13)
    assert rows["massive"][embedded].sum() == 7, "one in each of seven items, in the middle of it"
    left = rows[~rows["massive"]]
    means = left.groupby(["example_id", "site", "layer"], observed=True)["hoyer"].mean()
    typical = run.measurements(position="typical", metric="hoyer")
    own = means.loc[list(zip(typical["example_id"], typical["site"], typical["layer"], strict=True))]
    np.testing.assert_allclose(own, typical["value"], rtol=STORED)
    assert "massive" not in run.token_measurements()


def test_massive_tokens_are_not_guessed_without_lengths(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(metrics=["hoyer"], positions="all"), tmp_path / "run")
    with pytest.raises(InputError, match="has no l2_norm of tokens, by which massive tokens are found; add the metric"):
        open_run(tmp_path / "run").token_measurements(flag_massive=True)
