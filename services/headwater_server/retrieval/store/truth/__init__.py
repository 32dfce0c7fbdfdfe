"""The truth: everything that was acknowledged, in one SQLite database."""
