"""``make real-models``: the seed paper's claim on real pretrained models, as a page of the documentation.

It needs two folders that this repository does not hold: ``MODELS`` with Hugging Face folders of models, and ``DATA``
with local copies of public tasks and texts (ARC, GSM8K, BIG-Bench Hard, bAbI, TinyStories, WikiText). It makes one
sweep per model, as a user would, and writes ``docs/real-models.md``: a table whose rows were chosen before anything was
measured, and three sentences that are counted from it. It is not part of the gate.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml

from analyses import analyse
from probes import open_run
from probes.sweep.spec import load_spec
from tests.benchmarks.__main__ import machine

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "real-models.md"
MODELS: Final = {"smollm2-135m": "chat", "gemma3-270m": "none"}  # folder and template; one is instruction-tuned
POSITIONS: Final = ("mean", "last")
METRIC: Final = "hoyer"
QUESTIONS: Final = ("difficulty", "length", "domains")
NO_NUMBER: Final = "–"
NORM: Final = "after the final norm"
SPARSER: Final = ("supported", "significantly positive")
DENSER: Final = ("contradicted", "significantly negative")
HEADER: Final = """\
# The claim on real models

"The farther the shift, the sparser the representation" (arXiv:2603.03415), asked of two pretrained models of other
makers: SmolLM2-135M-Instruct (its chat template; the user's text is measured, not the template) and Gemma 3 270M (base,
no template). Suites, sites, positions and the measure (Hoyer sparsity, higher is sparser) were fixed before anything
was measured: the state after the final norm, and the block in the middle of the model. A positive estimate means
sparser where harder, or in the shifted domain than in the reference texts. `supported` and `contradicted` are kept for
the one pre-stated test of a suite; it has to survive the adjustment for the number of tokens and the correction over
the suites of its model. Everything else is significant after correction, or not. A dash under "adjusted for length"
says that the number of tokens cannot be separated from the axis (of the options of one question, more are always
longer), and such a row is never decided. An adjusted Cliff's delta is a slope of ranks in its unit: beyond ±1 it
extrapolates, because the texts of the two groups hardly overlap in length.
"""


def suites(data: Path) -> list[dict[str, Any]]:
    """What is asked: graded tasks, the number of options alone, and domains of text."""
    tasks, text = data / "tasks", data / "text"
    return [
        {"name": "arc", "file": str(tasks / "arc-*.jsonl")},
        {"name": "gsm8k", "file": str(tasks / "gsm8k.jsonl")},
        {"name": "bbh_objects", "file": str(tasks / "bbh" / "[lt]*_objects.jsonl")},
        {"name": "babi", "file": str(tasks / "babi" / "*_test.txt")},
        {
            "name": "options",
            "shift": "choice_count",
            "levels": [2, 4, 6, 8, 10],
            "of": {"name": "arc", "file": str(tasks / "arc-easy.jsonl")},
        },
        {
            "name": "text_domains",
            "in": {"wikitext": {"file": str(text / "wikitext.jsonl"), "prompt": "text"}},
            "shifted": {
                "tinystories": {"file": str(text / "tinystories.jsonl"), "prompt": "text"},
                "gsm8k": {"file": str(tasks / "gsm8k.jsonl"), "prompt": "question"},
                "humaneval": {"file": str(tasks / "humaneval.jsonl"), "prompt": "prompt"},
            },
            "shifts": ["shuffled_words", "character_noise", "random_bytes"],
        },
    ]


def spec_of(name: str, models: Path, data: Path, limit: int) -> dict[str, Any]:
    """The sweep of one model."""
    return {
        "models": [str(models / name)],
        "suites": suites(data),
        "sites": ["resid_post", "final_norm"],
        "positions": list(POSITIONS),
        "template": MODELS[name],
        "max_tokens": 256,
        "limit": limit,
        "controls": "none",
        "outcomes": [],  # the page asks nothing of the outputs: a sixth of the time
        "seed": 0,
    }


def sweep(name: str, models: Path, data: Path, out: Path, limit: int) -> Path:
    """Measure one model with the command that a user types; a finished sweep costs nothing to ask again."""
    spec = out / f"{name}.yaml"
    spec.write_text(yaml.safe_dump(spec_of(name, models.resolve(), data.resolve(), limit), sort_keys=False))
    load_spec(spec)
    command = [str(Path(sys.executable).parent / "sparsity"), "sweep", str(spec), "--out", str(out / name)]
    if subprocess.run(command, check=False).returncode not in (0, 1):  # 1: some items failed, and are recorded
        sys.exit(f"the sweep of {name} did not finish")
    return out / name


def rows_of(directory: Path) -> pd.DataFrame:
    """The findings of one sweep that the page shows, one row each; suites that are not finished are left out."""
    run = open_run(directory)
    runs = run.runs()
    finished = runs.loc[runs["status"] == "done", "suite"].astype(str)
    depth = int(run.facts(str(runs["run_id"].iloc[0])).n_layers)
    places = {("final_norm", depth), ("resid_post", depth // 2)}
    found = pd.concat([analyse(run, question).to_frame() for question in QUESTIONS], ignore_index=True)
    at = pd.Series([place in places for place in zip(found["site"], found["layer"], strict=True)], index=found.index)
    asked = (found["metric"] == METRIC) & found["position"].isin(POSITIONS) & (found["basis"] == "raw")
    shown = found[at & asked & found["suite"].isin(finished)]
    return shown.assign(model=directory.name).drop_duplicates(
        ["model", "suite", "axis", "group", "site", "layer", "position", "quantity"]
    )


def interval(low: float, high: float) -> str:
    """A 95 % interval as journals print it."""
    return NO_NUMBER if math.isnan(low) else f"[{signed(low)}, {signed(high)}]"


def signed(value: float) -> str:
    """Two decimals with a proper sign."""
    return NO_NUMBER if math.isnan(value) else f"{value:+.2f}".replace("-", "−")


def table(rows: pd.DataFrame) -> Iterator[str]:
    """The rows as Markdown."""
    yield "| suite | group | model | site | position | n | estimate | 95 % interval | adjusted for length | verdict |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows.itertuples():
        place = row.site if row.site == "final_norm" else f"{row.site}.{int(row.layer)}"
        adjusted = f"{signed(row.length_adjusted)} {interval(row.length_low, row.length_high)}"
        cells = (
            *(row.suite, row.group or row.axis, row.model, place, row.position, row.n),
            *(f"{row.quantity} {signed(row.estimate)}", interval(row.low, row.high)),
            *(NO_NUMBER if math.isnan(row.length_adjusted) else adjusted, row.verdict),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def sentences(rows: pd.DataFrame) -> Iterator[str]:
    """Three sentences, counted from the rows."""
    stated = rows[rows["primary"]]
    said = stated["verdict"].value_counts()
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in said.items())
    yield f"Of {len(stated)} pre-stated tests (Hoyer sparsity, {NORM}, one per suite and model): {verdicts}."
    decided = rows[rows["verdict"].isin([*SPARSER, *DENSER])]
    ends = {
        site: (int(here["verdict"].isin(SPARSER).sum()), int(here["verdict"].isin(DENSER).sum()))
        for site, here in decided.groupby("site")
    }
    norm, middle = ends.get("final_norm", (0, 0)), ends.get("resid_post", (0, 0))
    yield (
        f"Of all decided rows, states are sparser where harder or shifted in {norm[0]} and denser in {norm[1]} after "
        f"the final norm, and sparser in {middle[0]} and denser in {middle[1]} in the middle block."
    )
    known = rows[rows["length_adjusted"].notna()]
    lost = known[(known["low"] > 0) & ~(known["length_low"] > 0) | (known["high"] < 0) & ~(known["length_high"] < 0)]
    clear = known[(known["low"] > 0) | (known["high"] < 0)]
    yield (
        f"Of {len(clear)} rows whose interval excludes zero, {len(lost)} no longer do, or change their sign, after "
        "adjusting for the number of tokens."
    )


def missing(rows: pd.DataFrame) -> str:
    """A sentence on the suites that a model was not asked, or not to the end; empty where there are none."""
    asked = {(model, suite["name"]) for model in MODELS for suite in suites(Path())}
    left = sorted(asked - set(zip(rows["model"], rows["suite"], strict=True)))
    return f"Not measured: {', '.join(f'{suite} on {model}' for model, suite in left)}." if left else ""


def page(rows: pd.DataFrame, limit: int) -> str:
    """The whole page."""
    command = f"make real-models MODELS=DIR DATA=DIR LIMIT={limit}"
    made = f"Made on {dt.datetime.now(dt.UTC).date().isoformat()} by `{command}` on {machine()}."
    parts = [HEADER, *sentences(rows), "\n".join(table(rows)), missing(rows), made]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def main() -> None:
    """Measure what is missing, and write the page."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--models", type=Path, required=True)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--out", type=Path, default=Path("runs/real-models"))
    ask.add_argument("--limit", type=int, default=60)
    asked = ask.parse_args()
    missing = [str(asked.models / name) for name in MODELS if not (asked.models / name / "config.json").is_file()]
    if missing or not (asked.data / "tasks").is_dir():
        sys.exit(f"no model folder {missing[0]}" if missing else f"no folder {asked.data / 'tasks'}")
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    found = [rows_of(sweep(name, asked.models, asked.data, asked.out, asked.limit)) for name in MODELS]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(pd.concat(found, ignore_index=True), asked.limit), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
