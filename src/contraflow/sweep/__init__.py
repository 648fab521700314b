"""Sweeps: runs over varied settings, and a table and a picture of their results."""
