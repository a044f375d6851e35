"""What controls cost: sets of vectors and their nulls beside a sweep of every token, heads beside coordinates.

Sets and nulls read a sample of at most 64 items a group, so their cost stops growing where the groups are that large:
it is measured there, once, and the size of sweep of which it is a tenth follows from the time that an item takes.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from probes.controls.substitution import substitute
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from probes.sweep.spec import parse_spec
from tests.benchmarks.sweep import LLAMA, N_WORDS, cpu_seconds, write_model

GROUPS = 2
ITEMS = 64 * GROUPS  # as many as the sample of every group takes
LENGTH = 128
LAYERS, WIDTH, HEADS = 12, 768, 12
SHARE = 0.10
ASKED: dict[str, dict[str, object]] = {
    "nothing": {},
    "populations": {"populations": "default"},
    "populations, rotations and shuffle": {"populations": "default", "nulls": ["rotations", "shuffle"]},
    "populations, rotations, shuffle and untrained": {
        "populations": "default",
        "nulls": ["rotations", "shuffle", "untrained"],
    },
}


def write_items(folder: Path) -> dict[str, object]:
    """A suite of as many items in every group, each of equally many random words."""
    path = folder / "items.jsonl"
    with path.open("w") as file:
        for item in range(ITEMS):
            words = " ".join(f"w{(item * 7919 + place * 104729) % N_WORDS}" for place in range(LENGTH))
            split = ("in", "shifted")[item % GROUPS]
            file.write(json.dumps({"id": str(item), "text": words, "level": item % GROUPS, "split": split}) + "\n")
    return {"file": str(path), "name": "words", "id": "id", "axis": "typos", "level": "level", "split": "split"}


def exchange(blocks: int | None) -> None:
    """Attribute a change between two groups of 64 vectors to coordinates, or to heads, at every layer."""
    rng = np.random.default_rng(0)
    items = np.arange(64)
    for _ in range(LAYERS):
        reference, group = rng.standard_normal((2, 64, WIDTH))
        group[:, : WIDTH // HEADS] *= 3
        substitute(reference, group, items, items, rng, blocks)


def heads(rounds: int = 5) -> str:
    """The time of heads over that of coordinates, of interleaved repeats."""
    ratios = [cpu_seconds(lambda: exchange(HEADS)) / cpu_seconds(lambda: exchange(None)) for _ in range(rounds)]
    return (
        f"{statistics.median(ratios):7.3f}  [{min(ratios):.3f} {max(ratios):.3f}]  substitution of {LAYERS} x {HEADS} "
        f"heads over that of {LAYERS} x {WIDTH} coordinates (<= 1)"
    )


def main() -> None:
    """Print a row of heads, and one per list of what is asked of sets."""
    torch.set_num_threads(1)
    print(heads(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = {"models": [write_model(folder / "llama", LLAMA)], "suites": [write_items(folder)]}
        content |= {"sites": ["resid_post"], "positions": ["all", "mean"], "outcomes": [], "controls": "none"}
        taken: dict[str, float] = {}
        for number, (asked, keys) in enumerate(ASKED.items()):
            spec = parse_spec({**content, **keys, "controls_budget": "unlimited"}, folder=folder)
            taken[asked] = cpu_seconds(partial(run_sweep, spec, folder / str(number), Options(batch_size=8)))
            if asked == "nothing":
                print(f"12 x 768, resid_post of all layers, {ITEMS} items of {LENGTH} tokens in {GROUPS} groups")
                print(f"{taken[asked]:7.1f} s  every token, default metrics: {taken[asked] / ITEMS:.2f} s an item")
                continue
            added = taken[asked] - taken["nothing"]
            enough = added / SHARE / (taken["nothing"] / ITEMS)
            print(
                f"{added:7.1f} s  {asked}: {added / taken['nothing']:.2f} of such a sweep; "
                f"<= {SHARE:.2f} of one of {enough:.0f} items or more",
                flush=True,
            )


if __name__ == "__main__":
    main()
