"""A memory beside what a skeptic asks for: counts, cross-entropy alone, a fine-tuned copy; one table over seeds."""
