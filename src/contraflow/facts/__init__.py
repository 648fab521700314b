"""Facts: the record type, fact files (read, check, split), and what an oracle knows."""

from contraflow.facts.fact import Fact, default_facts, read_facts, write_facts
from contraflow.facts.split import Splits, split_facts

__all__ = ["Fact", "Splits", "default_facts", "read_facts", "split_facts", "write_facts"]
