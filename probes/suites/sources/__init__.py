"""Sources of items: files and data sets of other people, read as records, and the meaning of their fields."""
