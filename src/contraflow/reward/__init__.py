"""The reward: the oracle answers, the judge scores the answer, the schedule computes log R."""
