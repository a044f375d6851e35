"""Where a change is, which coordinates account for it, by which mechanism: four questions that rest on each other."""
