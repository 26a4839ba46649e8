"""Helpers that know nothing of X-rays, texts or models, each in a file that says what it is."""
