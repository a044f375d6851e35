"""One item asked in several ways: suites that change one thing about the items of another suite."""
