"""``make real-models``: the seed paper's claim on real pretrained models, as a page of the documentation.

It needs two folders that this repository does not hold: ``MODELS`` with Hugging Face folders of models, and ``DATA``
with local copies of public tasks and texts (ARC, GSM8K, BIG-Bench Hard, bAbI, TinyStories, WikiText). It makes one
sweep per model, as a user would, and writes ``docs/real-models.md``: a table whose rows were chosen before anything was
measured, a second one of every other measure, and four sentences that are counted from the first. It is not part of
the gate.
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
from analyses.findings.record import Finding
from probes import open_run
from probes.sweep.spec import load_spec
from tests.benchmarks.__main__ import machine

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "real-models.md"
MODELS: Final = {"smollm2-135m": "chat", "gemma3-270m": "none"}  # folder and template; one is instruction-tuned
POSITIONS: Final = ("mean", "last")
METRIC: Final = "hoyer"
QUESTIONS: Final = ("difficulty", "length", "domains")
ENTROPY: Final = "next_token_entropy"
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
extrapolates, because the texts of the two groups hardly overlap in length. Entropy is that of the next token; it is
read off the output, so adjusting for it removes no confounder. The Gaussian null is the exact expectation for a random
vector of the model's width: states below it are denser than chance, whatever they do along the axis.
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
        "outcomes": [ENTROPY],  # a covariate; one row of logits an item
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
    answers = [analyse(run, question) for question in QUESTIONS]
    found = pd.concat([own.to_frame() for own in answers], ignore_index=True)
    found = found.join(pd.DataFrame([beside(finding) for own in answers for finding in own]))
    at = pd.Series([place in places for place in zip(found["site"], found["layer"], strict=True)], index=found.index)
    asked = found["position"].isin(POSITIONS) & (found["basis"] == "raw")
    shown = found[at & asked & found["suite"].isin(finished)]
    return shown.assign(model=directory.name).drop_duplicates(
        ["model", "suite", "axis", "group", "site", "layer", "position", "metric", "quantity"]
    )


def beside(finding: Finding) -> dict[str, object]:
    """Means by level, the Gaussian null and the estimate adjusted for entropy, which `to_frame` leaves out."""
    entropy = next((control for control in finding.controls if control.name == ENTROPY), None)
    low, high = entropy.interval if entropy else (math.nan, math.nan)
    return {
        "levels": ", ".join(f"{level.mean:.3f}" for level in finding.levels),
        "null": finding.null.value if finding.null else math.nan,
        "entropy_adjusted": entropy.estimate if entropy else math.nan,
        "entropy_low": low,
        "entropy_high": high,
    }


def interval(low: float, high: float) -> str:
    """A 95 % interval as journals print it."""
    return NO_NUMBER if math.isnan(low) else f"[{signed(low)}, {signed(high)}]"


def signed(value: float) -> str:
    """Two decimals with a proper sign."""
    return NO_NUMBER if math.isnan(value) else f"{value:+.2f}".replace("-", "−")


def table(rows: pd.DataFrame) -> Iterator[str]:
    """The rows as Markdown."""
    heading = ("suite", "group", "model", "site", "position", "n", "mean by level", "Gaussian null", "estimate")
    heading += ("95 % interval", "adjusted for length", "adjusted for entropy", "verdict")
    yield f"| {' | '.join(heading)} |"
    yield "|---" * len(heading) + "|"
    for row in rows.itertuples():
        place = row.site if row.site == "final_norm" else f"{row.site}.{int(row.layer)}"
        cells = (
            *(row.suite, row.group or row.axis, row.model, place, row.position, row.n, row.levels or NO_NUMBER),
            NO_NUMBER if math.isnan(row.null) else f"{row.null:.3f}",
            *(f"{row.quantity} {signed(row.estimate)}", interval(row.low, row.high)),
            adjusted(row.length_adjusted, row.length_low, row.length_high),
            *(adjusted(row.entropy_adjusted, row.entropy_low, row.entropy_high), row.verdict),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def adjusted(estimate: float, low: float, high: float) -> str:
    """An adjusted estimate with its interval; a dash where it cannot be separated from what it is adjusted for."""
    return NO_NUMBER if math.isnan(estimate) else f"{signed(estimate)} {interval(low, high)}"


def other_measures(rows: pd.DataFrame) -> Iterator[str]:
    """Every measure of sparsity where the pre-stated one is read; in bold where it is significant after correction."""
    here = rows[(rows["site"] == "final_norm") & (rows["position"] == "mean") & rows["unit"].str.contains("sparser")]
    metrics = list(dict.fromkeys(here["metric"]))
    yield f"| suite | group | model | {' | '.join(metrics)} |"
    yield "|---" * (3 + len(metrics)) + "|"
    for (suite, group, axis, model), own in here.groupby(["suite", "group", "axis", "model"], sort=False):
        by_metric = {
            row.metric: f"**{signed(row.estimate)}**" if row.verdict in (*SPARSER, *DENSER) else signed(row.estimate)
            for row in own.itertuples()
        }
        cells = (suite, group or axis, model, *(by_metric.get(metric, NO_NUMBER) for metric in metrics))
        yield f"| {' | '.join(map(str, cells))} |"


def sentences(rows: pd.DataFrame) -> Iterator[str]:
    """Four sentences, counted from the rows."""
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
    yield alike(rows)


def alike(rows: pd.DataFrame) -> str:
    """The groups on which all models agree after the final norm, and how often they oppose each other in the middle."""
    said = rows.assign(
        what=rows["suite"] + " " + rows["group"].where(rows["group"] != "", rows["axis"]),
        side=rows["verdict"].isin(SPARSER).astype(int) - rows["verdict"].isin(DENSER).astype(int),
    )
    own = said[said["position"] == "mean"].groupby(["site", "what"])["side"]
    sides = pd.DataFrame({"least": own.min(), "most": own.max(), "n": own.size()}).reset_index()
    both = sides[sides["n"] == len(MODELS)]
    norm, middle = both[both["site"] == "final_norm"], both[both["site"] != "final_norm"]
    sparser, denser = (
        ", ".join(names) or "none" for names in (norm[norm["least"] == 1]["what"], norm[norm["most"] == -1]["what"])
    )
    opposed = ", ".join(middle[(middle["least"] == -1) & (middle["most"] == 1)]["what"]) or "none"
    return (
        f"What both models say significantly and alike, {NORM} and over all tokens: sparser on {sparser}; denser on "
        f"{denser}. In the middle block they oppose each other significantly on {opposed}."
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
    chosen = rows[rows["metric"] == METRIC]
    others = (
        "Other measures of sparsity after the final norm, mean over tokens; the sign is turned so that positive is "
    )
    others += "sparser, and bold is significant after correction (or the pre-stated test decided):"
    parts = [HEADER, *sentences(chosen), "\n".join(table(chosen)), others, "\n".join(other_measures(rows))]
    parts += [missing(rows), made]
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
