"""The rows of the table: decoded streams, headers counted both ways, and what both sides must know."""

import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from probes.compression import rates, samples, table
from probes.compression.classical import compressors, dictionary_of
from probes.compression.table import Rows, Sample, weight_bytes
from probes.errors import InputError
from probes.models.loading import load_model
from probes.suites.sources.media import CHUNK, MODALITIES, packaged, read_chunks, squeezed
from tests.probes.compression.conftest import SENTENCE

WORD = 8  # bytes; a stream ends on a whole word


def test_every_compressor_gives_its_bytes_back() -> None:
    rng = np.random.default_rng(0)
    seen = [(SENTENCE * 40).encode()[i : i + 300] for i in range(400)]
    found = compressors(dictionary_of(seen))
    assert {"gzip", "LZMA2", "bz2", "zstd", "PPMd", "PNG", "FLAC", "WebP", "JPEG XL"} <= {one.name for one in found}
    for data in (b"a", bytes(CHUNK), rng.bytes(CHUNK), rng.bytes(777), (SENTENCE * 40).encode()[:CHUNK]):
        for compressor in found:
            assert compressor.decode(compressor.encode(data), len(data)) == data, compressor.name


def test_rows_say_what_was_counted(byte_model: Path) -> None:
    chunks = [(SENTENCE * 50).encode()[i : i + CHUNK] for i in (0, 7)]
    model = load_model(str(byte_model))
    short = [Sample("text", [chunk[:64] for chunk in chunks], [])]
    rows, positions = rates([model], short, batch=2, chunks=(CHUNK, 64))
    row = rows[rows["kind"] == "model"].iloc[0]
    assert row["n_bytes"] == 128
    assert row["n_known_bytes"] == weight_bytes(model) == (byte_model / "model.safetensors").stat().st_size
    assert row["adjusted_rate"] == pytest.approx((row["n_stream_bytes"] + row["n_known_bytes"]) / 128)
    # all 128 bytes lie in the first stretch of one chunk, and a stream ends on a whole word
    each = [float(one) for one in str(row["bytes_of_each"]).split()]
    assert (len(each), sum(each)) == (row["n_chunks"], pytest.approx(row["n_stream_bytes"], abs=WORD))
    positions = positions[positions["chunk"] == CHUNK]
    assert positions["bits_per_byte"].iloc[0] * 128 / 8 == pytest.approx(row["n_stream_bytes"], abs=WORD)
    assert positions["bits_per_byte"].iloc[1:].isna().all()
    gzip = rows[rows["compressor"] == "gzip"].set_index("chunk")
    assert gzip.loc[64, "rate"] - gzip.loc[64, "rate_header_once"] == pytest.approx(20 / 128)
    assert gzip.loc[0, "rate"] == gzip.loc[CHUNK, "rate"] < gzip.loc[64, "rate"]  # 128 bytes in one chunk


def test_rows_that_are_there_are_not_made_again(byte_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after every row and begun again with what was kept: the same table, every row made once."""
    short = [Sample("text", [SENTENCE.encode()], []), Sample("code", [b"x = 1\n" * 9], [])]
    model, made, kept = load_model(str(byte_model)), list[str](), Rows([], [])
    whole = rates([model], short, chunks=(16, 64))
    pack = table.pack
    monkeypatch.setattr(table, "pack", lambda *given, **named: made.append("model") or pack(*given, **named))

    def stop(rows: Rows) -> None:
        nonlocal kept
        kept = rows
        raise KeyboardInterrupt

    for number in range(len(whole.table)):
        assert len(kept.rows) == number
        with pytest.raises(KeyboardInterrupt):
            rates([model], short, chunks=(16, 64), known=kept, keep=stop)
    again = rates([model], short, chunks=(16, 64), known=kept, keep=stop)
    pd.testing.assert_frame_equal(again.table, whole.table)
    pd.testing.assert_frame_equal(again.positions, whole.positions)
    assert made == ["model"] * 4


def test_progress_says_which_row_of_how_many(byte_model: Path) -> None:
    told: list[tuple[str, int, int]] = []
    short = [Sample("text", [SENTENCE.encode()], [])]
    found = rates([load_model(str(byte_model))], short, chunks=(64,), tell=lambda *one: told.append(one))
    assert {what for what, _, _ in told} == {f"bytes on text, chunks of 64 (row 1 of {len(found.table)})"}
    n_bytes = len(SENTENCE.encode())
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1:] == (2 * n_bytes, 2 * n_bytes)  # written, and read again


def test_shorter_chunks_have_rows_of_their_own() -> None:
    short = [Sample("text", [(SENTENCE * 2).encode()[:64]], [])]
    found = rates([], short, chunks=(16, 64)).table
    gzip = found[found["compressor"] == "gzip"].set_index("chunk")
    assert gzip["n_chunks"].to_dict() == {16: 4, 64: 1, 0: 1}
    assert gzip.loc[16, "rate"] > gzip.loc[64, "rate"] == gzip.loc[0, "rate"]
    for wrong in ((), (0,), (1 << 17,)):
        with pytest.raises(InputError, match="chunks"):
            rates([], short, chunks=wrong)


def test_random_bytes_cost_no_less_than_they_are() -> None:
    (sample,) = [one for one in samples(limit=1) if one.modality == "random"]
    assert (rates([], [sample]).table["rate"] >= 1).all()


def test_files_are_cut_as_the_paper_cuts(tmp_path: Path) -> None:
    picture = np.arange(70 * 130 * 3, dtype=np.uint64).reshape(70, 130, 3) % 256
    Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "a.png")
    found = [chunk.data for chunk in read_chunks(tmp_path / "a.png")]
    assert len(found) == 4  # two rows of two patches; what is left over is dropped
    corner = np.frombuffer(found[3], dtype=np.uint8).reshape(32, 64)[0, 0]
    assert corner == round(picture[32, 64].mean())
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.full(CHUNK + 5, -(1 << 14), dtype="<i2").tobytes())
    assert list(read_chunks(tmp_path / "a.wav")) == [(bytes([64]) * CHUNK, "a.wav")]  # half of full scale below 128
    (tmp_path / "b.png").write_bytes(b"no picture")
    for name in ("b.png", "a.xyz", "absent.wav"):
        with pytest.raises(InputError):
            list(read_chunks(tmp_path / name))


def test_the_packaged_sample_is_drawn_by_its_seed_alone() -> None:
    for modality in MODALITIES:
        first, again = (next(packaged(modality, np.random.default_rng(3))) for _ in range(2))
        assert first == again
        assert len(first.data) == CHUNK
        text, lost = squeezed(first.data, modality)
        assert text.isascii()
        assert lost == (CHUNK if modality in ("image", "audio", "random") else sum(byte > 127 for byte in first.data))
