"""What the rates of a model are about: natural questions, or those that a person gave."""

from __future__ import annotations

from contraflow.auditing.outcome.result import ModelResult
from contraflow.auditing.outcome.rows import OWN

NATURAL = "natural questions"
GIVEN = "the given questions"


def is_of_given(model: ModelResult) -> bool:
    """Whether a person's own questions were asked instead of drawn ones."""
    asked = {source.source for source in model.sources}
    return OWN in asked | {found.source for found in model.continuations}


def reference(model: ModelResult) -> str:
    """The questions that the rates are about."""
    return GIVEN if is_of_given(model) else NATURAL


def about(model: ModelResult, text: str) -> str:
    """A text of the report that speaks of natural questions, for this model."""
    return text.replace(NATURAL, reference(model))
