"""The edit request that ROME's data sets share: a prompt that is left open, its subject, and two
targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._clozes import statement_of_cloze
from contraflow.facts.formats._published import needed


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer and its Wikidata entity."""

    text: str = msgspec.field(name="str")
    id: Any = None


class Rewrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`prompt` has {} where the subject goes, and a target follows it."""

    prompt: str
    subject: str
    target_new: Target
    target_true: Target
    relation_id: str = ""
    question: str = ""

    def fact(self, aliases: Sequence[str] = ()) -> dict[str, object]:
        """The row of a fact. Raises: BadRowError."""
        if "{}" not in self.prompt:
            raise BadRowError(f"field 'prompt' has no {{}} where its subject goes: {self.prompt!r}")
        subject = needed(self.subject, "subject")
        original = needed(self.target_true.text, "target_true.str")
        edited = needed(self.target_new.text, "target_new.str")
        return {
            "subject": subject,
            "relation": self.relation_id,
            "original_answer": original,
            "edited_answer": edited,
            "original_fact": statement_of_cloze(self.prompt, subject, original),
            "edit_fact": statement_of_cloze(self.prompt, subject, edited),
            "question": self.question,
            "aliases": [alias for alias in dict.fromkeys(aliases) if alias and alias != original],
        }
