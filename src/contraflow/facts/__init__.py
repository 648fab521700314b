"""Facts: what one is, how files of them are read and checked, which of them an oracle knows."""

from contraflow.facts.fact import Fact, Splits, default_facts, read_facts, split_facts, write_facts

__all__ = ["Fact", "Splits", "default_facts", "read_facts", "split_facts", "write_facts"]
