"""How well does what a model has read know this input? Code lengths, exact counts in a corpus, distances to states."""
