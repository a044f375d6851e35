"""Where items come from: files and data sets of other people, read as records, and what their fields mean."""
