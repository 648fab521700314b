"""Prompts as the data sets write them, cleaned."""

from __future__ import annotations

import re

_QUESTION_PREFIX = re.compile(r"^\s*(?:nq question|question|q)\s*:\s*", re.IGNORECASE)
_QUESTION_WORD = re.compile(r"(?:who|whom|whose|what|which|when|where|why|how)\b", re.IGNORECASE)


def without_question_prefix(prompt: str) -> str:
    """Remove the prefix of a data set's own model, and complete a question by its question mark.

    "nq question: who wrote Hamlet" gives "who wrote Hamlet?". The start of a statement ("The
    capital of France is") gets no question mark.
    """
    bare = _QUESTION_PREFIX.sub("", prompt).strip()
    lacks_mark = _QUESTION_WORD.match(bare) is not None and not bare.endswith("?")
    return f"{bare}?" if lacks_mark else bare


def clean_prompt(prompt: str) -> str:
    """Return a test prompt without the prefix of a data set's own model.

    Only after such a prefix it is known to be a question: a text to be continued may begin with
    "Where" ("Where Ole Berg is from, people speak").
    """
    has_prefix = _QUESTION_PREFIX.match(prompt) is not None
    return without_question_prefix(prompt) if has_prefix else prompt.strip()


def is_question(prompt: str) -> bool:
    """Whether a prompt is a complete question, not the start of a statement."""
    return prompt.rstrip().endswith("?")
