"""Embedding a tumor, the index of known cases, and ranking them by similarity."""
