"""Planted wordings: which questions keep the old answer, and questions worded so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from contraflow.errors import UserError
from contraflow.facts import Fact
from examples.edits.phrasings import subject_phrase
from examples.edits.worded_questions import TEMPLATES, Templates

_OPENING = re.compile(r"^(Who|What|Which \w+) ")


@dataclass(frozen=True)
class Wording:
    """Questions that open with a phrase, or contain a word or phrase."""

    kind: Literal["opening", "word"]
    phrase: str

    @classmethod
    def parse(cls, text: str) -> Wording:
        """Read `opening:In which` or `word:originally`. Raises: UserError."""
        kind, _, written = text.partition(":")
        phrase = " ".join(written.split())
        if kind not in ("opening", "word") or not phrase:
            raise UserError(f"wording={text}: write opening:PHRASE or word:WORD")
        return cls(cast(Literal["opening", "word"], kind), phrase)

    @property
    def templates(self) -> Templates | None:
        """Questions of each relation in this wording; None where nobody has written any."""
        return TEMPLATES.get((self.kind, self.phrase.casefold()))

    @property
    def needs_draws(self) -> bool:
        """Whether the samplers' draws are the only questions in this wording."""
        return self.kind == "opening" and self.templates is None

    def matches(self, question: str) -> bool:
        """Whether a question is worded so."""
        start = "^" if self.kind == "opening" else r"(?<!\w)"
        pattern = rf"{start}{re.escape(self.phrase)}(?!\w)"
        return re.search(pattern, question, re.IGNORECASE) is not None

    def can_ask(self, fact: Fact) -> bool:
        """Whether there may be questions about a fact in this wording."""
        return self.templates is None or fact.relation in self.templates

    def questions(self, fact: Fact, others: Sequence[str]) -> list[str]:
        """Questions about a fact in this wording, beside those among the others.

        A word without templates is put into the other questions.
        """
        if self.templates is not None:
            subject = subject_phrase(fact)
            return [text.format(s=subject) for text in self.templates.get(fact.relation, ())]
        if self.kind == "opening":
            return []
        return [self._with_word(question) for question in others if not self.matches(question)]

    def _with_word(self, question: str) -> str:
        """Put the word behind "Who", "What" or "Which author", else at the end."""
        if _OPENING.match(question):
            return _OPENING.sub(rf"\1 {self.phrase} ", question)
        return f"{question.rstrip('?')} {self.phrase}?"
