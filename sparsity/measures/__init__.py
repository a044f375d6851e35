"""Measures of one vector, a module by family; whichever is imported first, they register in this order."""

from sparsity.measures import (  # noqa: I001  the order in which lists and tables name them
    concentration as concentration,
    energy as energy,
    scale as scale,
    hurley_rickard as hurley_rickard,
    hurley_rickard_scaled as hurley_rickard_scaled,
    support as support,
)
