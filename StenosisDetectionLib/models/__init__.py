"""Learned networks: their architecture, what they take in, and their weights on disk."""
