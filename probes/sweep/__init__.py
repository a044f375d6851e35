"""Models x suites x sites x metrics: what to sweep, what is left of it, and running it so that no work is lost."""
