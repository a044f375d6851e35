"""Run in a process of its own: read archives with a model, or print what exact arithmetic makes of some tokens."""

import hashlib
import itertools
import sys
from pathlib import Path

import numpy as np
import torch

from probes.compression.archive import codec_of, unpack
from probes.compression.container import Opened
from probes.models.loading import load_model

LENGTH = 46


def main(task: str, model: str, *arguments: str) -> None:
    loaded = load_model(model)
    if task == "read":
        folder, mode = Path(arguments[0]), arguments[1]
        codec = codec_of(loaded, "exact" if mode == "exact" else "lockstep")
        for path in sorted(folder.glob("*.spz")):
            with path.open("rb") as source, path.with_suffix(".back").open("wb") as sink:
                unpack(Opened(source, path.name), codec, lambda _, sink=sink: sink)
        return
    reader = codec_of(loaded, "exact").reader
    for threads, batch, step in itertools.product((1, 2), (1, 16, 64), (1, LENGTH)):
        torch.set_num_threads(threads)
        rows = torch.from_numpy(np.random.default_rng(0).integers(3, 250, (batch, LENGTH)))  # the first row is the same
        parts = [reader.begin(batch)]
        parts += [reader.read(rows[:, start : start + step]) for start in range(0, LENGTH, step)]
        logits = torch.cat(parts, 1)[0]
        print(threads, batch, step, hashlib.sha256(logits.numpy().tobytes()).hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
