"""The part of README.md that is data: ``python -m tests.readme`` writes it, a test compares it."""

from __future__ import annotations

import re
from pathlib import Path

from sparsity import METRICS

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- metrics -->\n).*(<!-- /metrics -->)", re.DOTALL)


def metrics_table() -> str:
    """Every metric with its direction, carrier, axioms and source, as Markdown."""
    lines = [
        "| metric | sparser | carrier | scale | across widths | D1 D2 D3 D4 P1 P2 | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, metric in sorted(METRICS.items()):
        written = f"{name}({', '.join(metric.parameters)})" if metric.parameters else name
        axioms = " ".join(metric.axioms["magnitude"])
        across = "yes" if metric.comparable else "no"
        cells = (
            f"`{written}`",
            metric.sparser or "size",
            metric.carrier,
            metric.scale,
            across,
            axioms,
            metric.source.replace("|", "\\|"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rendered(text: str) -> str:
    """The README with its generated block up to date."""
    return BLOCK.sub(lambda found: found[1] + metrics_table() + found[2], text)


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
