"""The one exception for input that cannot be used.

A message is a single line that says what was expected, what came and what to do. The command line prints it on stderr
and exits with status 2; a notebook sees an ordinary ``ValueError``. Faults of single items in a sweep are not errors:
they are rows of the ``failures`` table.
"""


class InputError(ValueError):
    """Input from the user that cannot be used: a spec, a file, a name, a directory."""
