"""What can be asked is answered: one small spec or command for each promise, and its number repeated by transformers.

Everything goes through the command line, as a user's does; nothing on the other side of a comparison is ours
(:mod:`tests.reachable.plain`). Which key and table belongs to what: `docs/concepts/what-to-ask.md`.
"""
