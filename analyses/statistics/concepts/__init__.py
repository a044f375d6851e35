"""Partitions of items: agreement with people's categories, what a code of so many bits loses, and graded membership."""
