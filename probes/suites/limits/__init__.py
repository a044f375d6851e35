"""Limits of text: place, body and cause, each beside a question that the words alone answer."""
