"""Site of a change, coordinates that account for it, and its mechanism: four questions that build on each other."""
