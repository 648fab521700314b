"""Evaluation of a run: text checks, diversity, metrics with intervals, and the report."""
