"""What readers are asked for: spellings that are understood, and names that nothing could match."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from probes.errors import InputError
from probes.records import Records, open_run
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMAS
from probes.records.store import Writer
from tests.probes.records.test_store import measurements

BLOCK = Block(
    sites=("resid_post.0", "resid_post.1", "final_norm"),
    bases=("raw",),
    positions=("last",),
    metrics=("hoyer@1", "top_k_energy(0.1)@1"),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Two metrics at two layers, one of them in a second basis too, and an item that failed at ``final_norm``."""
    folder = tmp_path_factory.mktemp("filtered")
    run = dict.fromkeys(SCHEMAS["runs"].names) | {"run_id": "r", "model": "m", "suite": "s", "started": "1"}
    rows = [
        measurements(metric, {"s:0": 0.25, "s:1": 0.5}, layer)
        for metric in ("hoyer", "top_k_energy(0.1)")
        for layer in (0, 1)
    ]
    rows.append(measurements("hoyer", {"s:0": 0.75}, 1, basis="pca"))
    with Writer.open(folder) as writer:
        writer.commit({"runs": pa.Table.from_pylist([run], schema=SCHEMAS["runs"])})
        writer.commit({"measurements": pa.concat_tables(rows)}, [Done("r", ("s:0", "s:1"), BLOCK)])
    return open_run(folder)


@pytest.mark.parametrize(
    ("asked", "n_rows"),
    [
        ({}, 8),
        ({"basis": None}, 9),
        ({"basis": "pca"}, 1),
        ({"site": "resid_post.1"}, 4),
        ({"site": "resid_post.1", "layer": [0, 1]}, 4),
        ({"site": ["resid_post.0", "resid_post"], "metric": "hoyer"}, 4),
        ({"site": ["resid_post.0", "final_norm"]}, 4),
        ({"metric": "top_k_energy(.10)"}, 4),
        ({"metric": ["hoyer@1"], "layer": 0, "suite": "s"}, 2),
        ({"site": "final_norm"}, 0),  # it is of the sweep, and nothing was measured there
        ({"basis": ["centred", "tails"]}, 0),  # a control that was left out or not asked for
    ],
)
def test_a_name_is_understood_as_a_spec_would_spell_it(records: Records, asked: dict[str, Any], n_rows: int) -> None:
    assert len(records.measurements(**asked)) == n_rows


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "hoyr"}, "did you mean 'hoyer'"),
        ({"metric": ["hoyer", "top_k_energy(0.2)"]}, r"did you mean 'top_k_energy\(0.1\)'"),
        ({"site": "resid_pst"}, "did you mean 'resid_post'"),
        ({"site": ["resid_post", "final_nrm"]}, "did you mean 'final_norm'"),
        ({"site": "resid_post.7"}, "did you mean 'resid_post.1' or 'resid_post.0'"),
        ({"site": "resid_post", "layer": 7}, "resid_post has layers 0, 1"),
        ({"site": "resid_post.1", "layer": 0}, "two layers at once"),
        ({"layer": 7}, "no layer 7; it has layers 0, 1"),
        ({"position": "lst"}, "did you mean 'last'"),
        ({"suite": "t"}, "no suite is called 't'"),
        ({"basis": "pcs"}, "did you mean 'pca'"),
    ],
)
def test_a_name_that_nothing_could_match_raises_with_the_nearest(
    records: Records, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        records.measurements(**asked)


def test_every_reader_refuses_a_misspelt_name(records: Records) -> None:
    for reader in ("examples", "token_measurements", "outcomes", "familiarity", "familiarity_tokens", "populations"):
        with pytest.raises(InputError, match="no suite is called 'mine'"):
            getattr(records, reader)(suite="mine")
    with pytest.raises(InputError, match="no measure is called 'zlib'"):
        records.familiarity(measure="zlib")
    with pytest.raises(InputError, match="no model is called 'n'"):
        records.states("final_norm", model="n")
