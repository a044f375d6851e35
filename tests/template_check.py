"""GSM8K and ARC under a chat template, against a script that shares no code with the product.

    python -m tests.template_check MODEL DATA [LIMIT]

MODEL is the folder of an instruction-tuned model, DATA holds ``tasks/`` (see docs/real-models.md). One sweep is made as
a user makes it; ``tests/reference/text_in_template.py`` (transformers and numpy) then measures the same texts, and the
largest relative difference of the bits per byte, of the mean Hoyer sparsity after the final norm and of their trends is
printed. More than 1 % ends with status 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoTokenizer

from probes import open_run
from tests.reference.text_in_template import describe

SUITES: Final = {"gsm8k": "gsm8k.jsonl", "arc": "arc-*.jsonl"}
BAR: Final = 0.01


def swept(model: Path, data: Path, limit: int, out: Path) -> pd.DataFrame:
    """Suite, level, text, bits per byte and mean Hoyer of every item, as the product has them."""
    spec = {
        "models": [str(model.resolve())],
        "suites": [{"name": name, "file": str(data.resolve() / "tasks" / files)} for name, files in SUITES.items()],
        "sites": ["final_norm"],
        "positions": ["mean"],
        "familiarity": ["bits_per_byte"],
        "template": "chat",
        "limit": limit,
        "controls": "none",
        "seed": 0,
    }
    (out / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    command = [
        str(Path(sys.executable).parent / "sparsity"),
        "sweep",
        str(out / "spec.yaml"),
        "--out",
        str(out / "run"),
    ]
    subprocess.run(command, check=True)
    run = open_run(out / "run")
    values = run.measurements(metric="hoyer", site="final_norm", position="mean").set_index("example_id")["value"]
    bits = run.familiarity().query("measure == 'bits_per_byte'").set_index("example_id")["value"]
    items = run.examples().set_index("example_id")[["suite", "level", "text"]]
    return items.assign(hoyer=values.astype(float), bits_per_byte=bits.astype(float))


def trends(items: pd.DataFrame) -> dict[str, float]:
    """Rank correlation of both numbers with the level of every suite, and with each other, over items that have one."""
    found = {}
    for suite, rows in items.dropna(subset="level").groupby("suite"):
        found |= {
            f"{suite}: {name} with level": spearmanr(rows[name], rows["level"])[0]
            for name in ("hoyer", "bits_per_byte")
        }
        found[f"{suite}: hoyer with bits_per_byte"] = spearmanr(rows["hoyer"], rows["bits_per_byte"])[0]
    return found


def main(model: str, data: str, limit: str = "30") -> None:
    """Print the differences; status 1 where one is over the bar."""
    with tempfile.TemporaryDirectory() as folder:
        ours = swept(Path(model), Path(data), int(limit), Path(folder))
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    told = pd.DataFrame([describe(network, tokenizer, text) for text in ours["text"]], index=ours.index)
    theirs = ours[["suite", "level"]].join(told)
    worst = 0.0
    for suite, rows in ours.groupby("suite"):
        for name in ("hoyer", "bits_per_byte"):
            apart = np.abs(rows[name] / theirs.loc[rows.index, name] - 1)
            worst = max(worst, apart.max(), float(apart.isna().any()))
            print(f"{suite}: {name} of {len(rows)} items, largest relative difference {apart.max():.1e}")
    for (what, value), other in zip(trends(ours).items(), trends(theirs).values(), strict=True):
        worst = max(worst, abs(value - other))
        print(f"{what}: Spearman {value:+.4f}, reference {other:+.4f}")
    sys.exit(int(not worst <= BAR))


if __name__ == "__main__":
    main(*sys.argv[1:])
