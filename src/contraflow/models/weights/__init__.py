"""Where weights come from, and whose they are: names, packages, adapters, deltas, identity."""
