"""Weights, rates and intervals: numbers in, numbers out, no model."""
