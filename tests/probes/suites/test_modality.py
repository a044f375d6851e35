"""The kinds of data as items of a suite: ASCII, chunk by chunk, with the bits that this lost."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites.modality import LIMIT, ModalitySuite
from probes.suites.sources.media import CHUNK, MODALITIES
from probes.sweep.spec import load_spec
from probes.sweep.specification.suite_entries import suite_entry


def test_every_kind_of_the_packaged_sample_is_ascii_of_equal_length() -> None:
    suite = ModalitySuite(limit=3).suite()
    items = suite.items(np.random.default_rng(0))
    assert [item.example.level_name for item in items] == [kind for kind in MODALITIES for _ in range(3)]
    assert all(item.example.text.isascii() and len(item.example.text) == CHUNK for item in items)
    assert {item.example.split for item in items if item.example.level_name == "text"} == {"in"}
    lost = {item.example.level_name: int(dict(item.example.attrs)["lost_bits"]) for item in items}
    assert lost["image"] == lost["audio"] == lost["random"] == CHUNK
    assert lost["text"] < CHUNK / 10
    again = suite.items(np.random.default_rng(0))
    assert [item.example.text for item in again] == [item.example.text for item in items]


def test_files_of_ones_own_are_told_by_their_endings(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("naïve " * 1000, encoding="utf-8")
    entry = suite_entry({"name": "modality", "files": ["mine.txt"], "limit": 2}, tmp_path, "a spec")
    assert isinstance(entry, ModalitySuite)
    items = entry.suite().items(np.random.default_rng(0))
    assert [item.example.level_name for item in items] == ["text", "text", "random", "random"]
    assert items[0].example.text.startswith("naC/ve ")  # ï is C3 AF, and loses the first bit of either byte
    assert {item.example.cluster for item in items[:2]} == {"text-mine.txt"}
    with pytest.raises(InputError, match="ending"):
        ModalitySuite(files=("a.xyz",)).suite().items(np.random.default_rng(0))


def test_sound_and_chance_never_end_and_a_limit_of_the_command_line_ends_them(tmp_path: Path) -> None:
    """`--limit` goes before the limits of suites: it took this one away, and the sweep never began."""
    spec = tmp_path / "s.yaml"
    spec.write_text("{models: [m], suites: [{name: modality, limit: 9}]}", encoding="utf-8")
    (entry,) = load_spec(spec, {"limit": 2}).suites
    assert isinstance(entry, ModalitySuite)
    drawn = entry.suite().generate(np.random.default_rng(0))
    assert len(list(islice(drawn, 100))) == 2 * len(MODALITIES)
    unstated = ModalitySuite().suite().generate(np.random.default_rng(0))
    assert len(list(islice(unstated, 1000))) == LIMIT * len(MODALITIES)
