"""Parts of states: what the safetensors library reads is what was written, and every float32 survives the way back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open

from probes.records import tensors
from probes.records.schema import SCHEMAS
from probes.records.tensors import in_parts, tensors_of, to_safetensors

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def rows(dtype: str, vectors: torch.Tensor, position: str = "last", run_id: str = "r") -> pa.Table:
    content = [
        {
            "run_id": run_id,
            "example_id": f"s:{index}",
            "site": "resid_post",
            "layer": 3,
            "position": position,
            "dtype": dtype,
            "vector": vector.view(torch.uint8).numpy().tobytes(),
        }
        for index, vector in enumerate(vectors.to(DTYPES[dtype]))
    ]
    return pa.Table.from_pylist(content, schema=SCHEMAS["states"])


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_the_library_reads_what_was_written(tmp_path: Path, dtype: str) -> None:
    vectors = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors[1, 2] = torch.nan
    file = tmp_path / "part.safetensors"
    file.write_bytes(to_safetensors(rows(dtype, vectors)))
    with safe_open(file, framework="pt") as opened:
        (name,) = opened.keys()
        assert name == "r resid_post.3 last"
        stored = opened.get_tensor(name)
    assert stored.dtype == DTYPES[dtype]
    assert torch.equal(stored.nan_to_num(9), vectors.to(DTYPES[dtype]).nan_to_num(9))
    (own,) = tensors_of(file)
    assert own.items == tuple(f"s:{index}" for index in range(5))
    np.testing.assert_array_equal(own.numbers(file), vectors.to(DTYPES[dtype]).float().numpy())


def test_a_part_holds_several_places_and_comes_back_as_rows(tmp_path: Path) -> None:
    first = rows("BF16", torch.arange(6.0).reshape(2, 3))
    second = rows("F32", torch.arange(10.0).reshape(2, 5), position="mean", run_id="ü q")
    file = tmp_path / "part.safetensors"
    file.write_bytes(to_safetensors(pa.concat_tables([second, first, second.slice(0, 0)])))
    found = {own.run_id: own for own in tensors_of(file)}
    assert [(own.width, own.position) for own in found.values()] == [(3, "last"), (5, "mean")]
    again = pa.concat_tables([found["ü q"].rows(file), found["r"].rows(file)])
    assert again.to_pylist() == [
        row | {"token": -1, "n_vectors": 1} for row in [*second.to_pylist(), *first.to_pylist()]
    ]
    assert to_safetensors(again) == file.read_bytes()


def test_rows_of_tokens_are_one_tensor_and_parts_are_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.arange(24.0).reshape(8, 3)
    spans = [(1, 2), (4, 0), (0, 5), (7, 1)]  # first token and number of vectors of each item
    ends = np.cumsum([n for _, n in spans])
    own = [
        rows("F32", vectors[end - n : end].reshape(1, -1), position="all")
        .drop_columns(["example_id", "token", "n_vectors"])
        .to_pylist()[0]
        | {"example_id": f"s:{item}", "token": first, "n_vectors": n}
        for item, (end, (first, n)) in enumerate(zip(ends, spans, strict=True))
    ]
    table = pa.Table.from_pylist(own, schema=SCHEMAS["states"])
    file = tmp_path / "part.safetensors"
    file.write_bytes(to_safetensors(table))
    (found,) = tensors_of(file)
    assert list(found.keys()) == [
        ("s:0", 1), ("s:0", 2), ("s:2", 0), ("s:2", 1), ("s:2", 2), ("s:2", 3), ("s:2", 4), ("s:3", 7)
    ]  # fmt: skip
    np.testing.assert_array_equal(found.numbers(file), vectors.numpy())
    assert found.rows(file).to_pylist() == table.to_pylist()
    monkeypatch.setattr(tensors, "PART_BYTES", 3 * 12)
    assert [part.num_rows for part in in_parts(table)] == [2, 1, 1]  # the third item alone has more
    assert pa.concat_tables(list(in_parts(table))).to_pylist() == table.to_pylist()
