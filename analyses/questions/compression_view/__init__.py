"""Questions of the view that a model is a compressor: code length, memories, and what text alone does not teach."""
