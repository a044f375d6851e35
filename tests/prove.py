"""``make prove``: the long proofs at full counts, and PROOFS.md with what they showed on which machine."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.__main__ import machine

PROOFS = Path(__file__).resolve().parents[1] / "PROOFS.md"


def main() -> int:
    """Run every test marked ``long``; write the file only if all hold."""
    with tempfile.NamedTemporaryFile("r", suffix=".md", encoding="utf-8") as earned:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "long", *sys.argv[1:]]
        status = subprocess.run(command, env={**os.environ, "SPARSITY_PROOFS": earned.name}, check=False).returncode
        if status == 0:
            today = dt.datetime.now(dt.UTC).date().isoformat()
            PROOFS.write_text(
                f"# Proofs\n\nWritten by `make prove` on {today}: {machine()}.\n\n{earned.read()}", encoding="utf-8"
            )
    return status


if __name__ == "__main__":
    sys.exit(main())
