"""Trials of claims: ordinary sweeps and ordinary commands, each with an estimate of what it takes.

A laboratory model reads the words of its world and nothing else; other models read English. So most claims have one
trial for either, and some say nothing of one of them. A trial without a model is the same whatever model is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from probes.errors import InputError
from probes.lab import dynamics_paths, graded_path, read_record, shipped_path

Reads = Literal["laboratory", "graded", "text", "any", "nothing"]
START: Final = 8.0  # seconds of loading and of writing a sweep's tables
# float32 on one core: a bare pass of 135 million weights took 1.9e-11; reading choices and measuring come on top
SECONDS_PER_WEIGHT_AND_TOKEN: Final = 5e-11
BYTES_PER_WEIGHT: Final = 4
UNKNOWN_WEIGHTS: Final = 135e6  # of a model whose files are not here
MODEL, OUT, TEXTS = "{model}", "{out}", "{texts}"
WHY_NOT: Final[Mapping[Reads, str]] = {
    "laboratory": "it needs a laboratory model, whose training is counted fact by fact (sparsity lab train makes one)",
    "graded": "it asks about the facts of the shipped model lab-graded, which this model has not read",
    "text": "a laboratory model reads the words of its own world, and this is asked in English",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Something to run.

    Attributes:
        name: of its folder.
        reads: which models can be asked; ``nothing`` where no model of the user's is.
        about: what it is, in a few words.
        spec: keys of a sweep; empty for a command.
        command: words of a command of ``sparsity``; empty for a sweep.
        seconds: what it takes beside the model.
        tokens: how many tokens the model reads, for the price.
    """

    name: str
    reads: Reads
    about: str
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    command: tuple[str, ...] = ()
    seconds: float = START
    tokens: float = 0.0

    def price(self, model: Model) -> float:
        """Seconds that it is expected to take."""
        weights = 0.0 if self.reads == "nothing" else model.n_weights
        return self.seconds + self.tokens * weights * SECONDS_PER_WEIGHT_AND_TOKEN

    def refused(self, model: Model) -> str:
        """The reason why this model cannot be asked; empty where it can."""
        asked = {"laboratory": model.kind != "text", "graded": model.kind == "graded", "text": model.kind == "text"}
        return "" if asked.get(self.reads, True) else WHY_NOT[self.reads]


class Model(NamedTuple):
    """A model as the user names it.

    Attributes:
        name: a path, a hub name or the short name of a shipped model.
        label: by which folders and columns are called.
        kind: which trials it can read.
        n_weights: how many weights it has, by the size of its files.
    """

    name: str
    label: str
    kind: Literal["laboratory", "graded", "text"]
    n_weights: float

    @property
    def path(self) -> Path:
        """The folder of the model, which a hub name has not."""
        return shipped_path(self.name) or Path(self.name)


def model_of(name: str, label: str) -> Model:
    """A model with what decides which trials it is asked.

    >>> model_of("lab-graded", "lab-graded").kind, model_of("gpt2", "gpt2").kind
    ('graded', 'text')
    """
    path = shipped_path(name) or Path(name)
    n_bytes = sum(file.stat().st_size for file in path.glob("*.safetensors")) if path.is_dir() else 0
    kind: Literal["laboratory", "graded", "text"] = "text"
    if (path / "world.json").exists():
        try:
            kind = "graded" if read_record(path).world == read_record(graded_path()).world else "laboratory"
        except InputError:
            kind = "text"
    return Model(name, label, kind, n_bytes / BYTES_PER_WEIGHT or UNKNOWN_WEIGHTS)


def _noise(kind: str) -> dict[str, Any]:
    source = {"file": TEXTS, "prompt": "text", "name": f"{kind}_source"}
    return {"shift": kind, "name": kind, "of": source}


QUICK: Final = {"sites": ["final_norm"], "controls": "none"}
TRIALS: Final[Mapping[str, Trial]] = {
    trial.name: trial
    for trial in (
        Trial(
            name="facts",
            reads="laboratory",
            about="facts of the model's own world, by presentations in training",
            spec={"suites": [{"lab": MODEL, "name": "lab_exposure"}], "positions": "last", "limit": 60, **QUICK},
            tokens=3e3,
        ),
        Trial(
            name="changed_facts",
            reads="graded",
            about="known facts after a statement, and in other words",
            spec={
                "suites": ["lab_conflict_matched", "lab_phrasing_matched"],
                "positions": "last",
                "limit": 60,
                **QUICK,
            },
            tokens=1e4,
        ),
        Trial(
            name="noise",
            reads="text",
            about="English texts with more and more noise",
            spec={
                "suites": [_noise("typos"), _noise("character_noise"), _noise("word_order")],
                "positions": "mean",
                "limit": 16,
                "max_tokens": 256,
                **QUICK,
            },
            tokens=4e4,
        ),
        Trial(
            name="stories",
            reads="text",
            about="stories with a question about the words and one about the world",
            spec={
                "suites": ["geometry", "physics", "causality"],
                "positions": "last",
                "outcomes": ["nll", "next_token_entropy", "choice_correct"],
                **QUICK,
            },
            tokens=2.5e4,  # choices share the story that they follow, which is read once
        ),
        Trial(
            name="rates",
            reads="any",
            about="rates on pictures, sound and chance beside codecs",
            command=(
                *("compression", "--model", MODEL, "--limit", "2", "--chunk", "256"),
                *("--kind", "image", "--kind", "audio", "--kind", "random", "--out", OUT),
            ),
            seconds=60.0,
            tokens=7e4,  # written and read again, a byte after another
        ),
        Trial(
            name="checkpoints",
            reads="nothing",
            about="the shipped checkpoints of three small trainings",
            spec={
                "models": [
                    str(folder)
                    for seed in dynamics_paths()
                    for folder in (*sorted((seed / "checkpoints").glob("step-*")), seed)
                ],
                "suites": [{"lab": str(seed), "name": f"facts_{seed.name}"} for seed in dynamics_paths()],
                "positions": "last",
                "outcomes": ["nll", "correct"],
                "metrics": ["hoyer"],
                "limit": 12,
                **QUICK,
            },
            seconds=40.0,
        ),
        Trial(
            name="learning",
            reads="nothing",
            about="small networks trained here, with and without the learning policy",
            command=("learning-law", "--scale", "small", "--out", OUT),
            seconds=600.0,
        ),
        Trial(
            name="concepts",
            reads="text",
            about="items of human categories",
            spec={
                "suites": ["concepts"],
                "positions": "answer",
                "sites": ["embed", "final_norm"],
                "states": ["embed", "final_norm"],
                "controls": "none",
            },
            tokens=1e4,
        ),
        Trial(
            name="memory",
            reads="text",
            about="a datastore of library code, and small models taught by it, beside the model",
            command=(
                *("memory", "evaluate", "--model", MODEL, "--seeds", "1", "--documents", "16", "--characters", "1024"),
                *("--steps", "40", "--batch-size", "4", "--neighbours", "16", "--out", OUT),
            ),
            seconds=60.0,
            tokens=5e4,
        ),
        Trial(
            name="memory_small",
            reads="nothing",
            about="byte-level models trained here, three seeds, with a datastore and small models taught by it",
            command=("memory", "evaluate", "--seeds", "3", "--out", OUT),
            seconds=1700.0,
        ),
    )
}
