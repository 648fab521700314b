"""Passes over token trees that a GPU has recorded and replays."""
