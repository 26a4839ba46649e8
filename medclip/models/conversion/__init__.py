"""Weights of other code: read without running code, and renamed to ours."""
