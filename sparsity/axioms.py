"""The table of measures against axioms, as data: what the command line prints and the README carries.

Hurley & Rickard ask six things of a measure of sparsity. Which of them a measure satisfies depends on what counts as
wealth, |x| or x^2: top-k energy and the participation ratio break Robin Hood on |x| and keep it on x^2, the Gini
index the other way round. The verdicts are declared with each measure; the tests hold every cell, in both directions.
"""

from typing import NamedTuple

from sparsity.records import METRICS, Axiom, Verdict, Wealth


class AxiomRow(NamedTuple):
    """One measure with one kind of wealth, and its verdicts on D1 D2 D3 D4 P1 P2 in that order."""

    metric: str
    carrier: str
    wealth: Wealth
    verdicts: tuple[Verdict, ...]

    @property
    def satisfied(self) -> int:
        """Number of the six axioms that hold strictly."""
        return sum(verdict is Verdict.HOLDS for verdict in self.verdicts)


def axioms_table() -> list[AxiomRow]:
    """Every registered measure, once with |x| and once with x^2 as the wealth, in the order of registration.

    >>> import sparsity
    >>> row = next(row for row in axioms_table() if row.metric == "hoyer" and row.wealth == "magnitude")
    >>> "".join(row.verdicts), row.satisfied
    ('yyynyy', 5)
    """
    wealths: tuple[Wealth, ...] = ("magnitude", "energy")
    return [
        AxiomRow(record.name, record.carrier, wealth, tuple(record.verdict(axiom, wealth) for axiom in Axiom))
        for record in METRICS.values()
        for wealth in wealths
    ]
