"""A metric, a suite and a question of one's own."""
