"""The measures of familiarity, by what they are read from."""
