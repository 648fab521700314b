"""The edit request shared by ROME's data sets: a cloze prompt, its subject and two targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._clozes import filled, statement_of_cloze
from contraflow.facts.formats._published import needed


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer and the id of its Wikidata entity."""

    text: str = msgspec.field(name="str")
    id: Any = None


class Rewrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edit; `prompt` contains {} in place of the subject and is continued by a target."""

    prompt: str
    subject: str
    target_new: Target
    target_true: Target
    relation_id: str = ""
    question: str = ""

    @property
    def cloze(self) -> str:
        """The prompt with the subject in it."""
        return filled(self.prompt, self.subject)

    def row(self, aliases: Sequence[str] = ()) -> dict[str, object]:
        """Return the edit as a row, without test prompts.

        `aliases`: spellings of the true target. Raises: BadRowError if a field is unusable.
        """
        if "{}" not in self.prompt:
            raise BadRowError(f"field 'prompt' has no {{}} where its subject goes: {self.prompt!r}")
        subject = needed(self.subject, "subject")
        original = needed(self.target_true.text, "target_true.str")
        edited = needed(self.target_new.text, "target_new.str")
        other_spellings = [alias for alias in aliases if alias and alias != original]
        return {
            "subject": subject,
            "relation": self.relation_id,
            "original_answer": original,
            "edited_answer": edited,
            "original_fact": statement_of_cloze(self.prompt, subject, original),
            "edit_fact": statement_of_cloze(self.prompt, subject, edited),
            "question": self.question,
            "aliases": list(dict.fromkeys(other_spellings)),
            "prompt": self.cloze,
        }
