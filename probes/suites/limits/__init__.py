"""What text alone is said not to teach: place, body and cause, each beside a question that the words alone answer."""
