"""How fast suites give their items: items per second, beside reading the same lines as JSON and nothing else."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from probes.suites.example import Suite
from probes.suites.files import FileSuite
from probes.suites.shifts.answer_choices import ChoiceCount
from probes.suites.shifts.demonstrations import Demonstrations
from probes.suites.shifts.instructions import WordingShift
from probes.suites.shifts.noise import NoiseShift
from probes.suites.shifts.shift_suite import Tools

N_ITEMS = 2000
REPEATS = 3
ASKED = "Each pack costs {} coins and the shop gives a discount of {} coins on every pack. What does a pack cost then?"


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.jsonl"
        rows = ({"q": ASKED.format(50 + i, i), "a": str(i), "steps": i % 5} for i in range(N_ITEMS))
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        bare = timed(lambda: len([json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")]))
        print(f"{'json.loads':38} {bare:9.0f} items/s")
        for name, suite in declared(path):
            rate = timed(lambda suite=suite: len(suite.items(np.random.default_rng(0))))
            print(f"{name:38} {rate:9.0f} items/s   {rate / bare:.3f} x json.loads")


def declared(path: Path) -> Iterator[tuple[str, Suite]]:
    """The suites that are timed."""
    source = FileSuite(file=str(path), name="items", prompt="q", answer="a", level="steps")
    yield "file", source.suite()
    yield "typos, 4 rates", NoiseShift(name="n", shift="typos", of=source).suite()
    listed = "{q}\n{choices}\nAnswer:"
    yield "choice_count, 2 to 20", ChoiceCount(name="c", shift="choice_count", of=source, prompt=listed).suite()
    yield "demonstrations, 0 to 8", Demonstrations(name="d", shift="demonstrations", of=source).suite()
    words = Tools(owner="words", count_tokens=lambda text: len(text.split()))
    matched = WordingShift(name="w", shift="wording", of=source, matched=True)
    yield "wording, 5, matched in words", matched.suite(words)


def timed(generate: Callable[[], int]) -> float:
    """Items per second, the median of some repeats."""
    rates: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        n_items = generate()
        rates.append(n_items / (time.perf_counter() - began))
    return statistics.median(rates)
