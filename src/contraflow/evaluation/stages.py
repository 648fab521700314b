"""The samplers that a run evaluates, in the order in which tables and charts show them."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """The names of one evaluated sampler."""

    title: str  # heads a column
    noun: str  # stands in a sentence after "the"


STAGES = {
    "subject_only": Stage("untrained, subject-only prompt", "subject-only prompt"),
    "before": Stage("untrained", "untrained sampler"),
    "after": Stage("trained", "trained sampler"),
    "different": Stage("trained, different questions", "trained sampler without repeats"),
    "proportional": Stage(
        "trained, different ones in proportion to the reward",
        "trained sampler's questions in proportion to their reward",
    ),
    "training_facts": Stage("trained, on training facts", "trained sampler on training facts"),
}
"""By the name of the stage's files in the folder ``evaluation`` of a run."""
