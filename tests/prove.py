"""``make prove``: the long proofs at full counts, and PROOFS.md with what they showed on which machine.

``python -m tests.prove -k kills`` runs some of them; what the others showed before stays in the file with its date.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.__main__ import machine

PROOFS = Path(__file__).resolve().parents[1] / "PROOFS.md"
NODE = re.compile(r"\(`(.+)`")


def merged(before: str, earned: str, stamp: str) -> str:
    """The lines of PROOFS.md: what was shown before, and in place of it or after it what was shown now."""
    lines = {match[1]: line for line in before.splitlines() if (match := NODE.search(line))}
    lines |= {match[1]: f"{line[:-1]}, {stamp})" for line in earned.splitlines() if (match := NODE.search(line))}
    return "# Proofs\n\nWritten by `make prove`.\n\n" + "\n".join(lines.values()) + "\n"


def main() -> int:
    """Run tests marked ``long``; write the file only if all hold."""
    with tempfile.NamedTemporaryFile("r", suffix=".md", encoding="utf-8") as earned:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "long", *sys.argv[1:]]
        status = subprocess.run(command, env={**os.environ, "SPARSITY_PROOFS": earned.name}, check=False).returncode
        if status == 0:
            stamp = f"{dt.datetime.now(dt.UTC).date().isoformat()} on {machine()}"
            before = PROOFS.read_text(encoding="utf-8") if PROOFS.exists() else ""
            PROOFS.write_text(merged(before, earned.read(), stamp), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
