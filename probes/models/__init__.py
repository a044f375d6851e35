"""A model ready to be measured: loaded, its sites found, its text side (templates, tokens) understood."""
