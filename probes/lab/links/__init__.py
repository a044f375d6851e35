"""Links within a prompt: episodes that are drawn, the curriculum over them, and a solver of shortcuts."""
