"""One question per file; importing the package registers nothing, :func:`analyses.analyse` imports them all."""
