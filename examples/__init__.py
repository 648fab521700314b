"""Worked examples; none of them is part of the package."""
