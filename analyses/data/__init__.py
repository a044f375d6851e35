"""The tables of a sweep as analyses read them: runs, panels of items by measures, and what the controls recorded."""
