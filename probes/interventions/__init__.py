"""Changing coordinates of states inside a pass, and reading what follows."""
