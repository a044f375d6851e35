"""Find one stored counterexample for every cell of the axiom table that does not say "holds", and write them to JSON.

Run ``python -m tests.golden.find_axiom_counterexamples`` after changing a declared cell. A cell that says "fails"
needs a legal move to which the measure responds against the axiom; one that says "weak" a move that leaves the
measure as it was.
"""

import json
from pathlib import Path

import numpy as np

from sparsity import Axiom
from sparsity.records import Verdict
from tests.sparsity.axioms import draw_moves, verdicts
from tests.sparsity.cases import ALL

TARGET = Path(__file__).with_name("axiom_counterexamples.json")
RESPONSE = {Verdict.FAILS: "against", Verdict.WEAK: "tie", Verdict.UNDEFINED: "undefined"}


def find() -> list[dict]:
    """Search the smallest widths first, so that the stored vectors can be checked by hand."""
    found: dict[tuple, dict] = {}
    lacking: dict[tuple, str] = {}
    for spec in ALL:
        for wealth in ("magnitude", "energy"):
            for axiom in Axiom:
                verdict = spec.record.verdict(axiom, wealth)
                key = (spec.name, wealth, axiom)
                if verdict is Verdict.HOLDS:
                    continue
                for d in (3, 4, 5, 6, 8, 12, 24, 60, 200):
                    if key in found and len(found[key]["moves"][0]["before"]) <= d:
                        break
                    moves = draw_moves(axiom, np.random.default_rng(d), 2000 if d < 100 else 300, d)
                    hits = np.flatnonzero(verdicts(axiom, spec, wealth, moves) == RESPONSE[verdict])
                    if len(hits):
                        one = hits[0]
                        pairs = [{"before": m.before[one].tolist(), "after": m.after[one].tolist()} for m in moves]
                        found[key] = {"metric": str(spec), "wealth": wealth, "axiom": axiom.value, "moves": pairs}
                        break
                if key not in found:
                    lacking[key] = f"{spec}: no counterexample to {axiom.value} with {wealth} as wealth; is it 'y'?"
    for key in lacking.keys() - found.keys():  # no choice of parameters has one
        print(lacking[key])
    return list(found.values())


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(entry) for entry in find())
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
