"""A step's batch: which facts, which questions, what they are worth."""
