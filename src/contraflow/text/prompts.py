"""The only place with prompt text handling: templates, their constant header and their variable
body.

A template is plain text with ``{placeholders}``. What stands before the line of the first
placeholder is the same for every fact or question; it is the *header*, read once per run. The rest
is the *body*, read per row.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass

from contraflow.errors import UserError


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt split where its first placeholder's paragraph begins."""

    header: str
    body_template: str

    @classmethod
    def parse(cls, name: str, text: str, allowed: set[str], needed: set[str]) -> PromptTemplate:
        """Split a template, refusing unknown or missing placeholders.

        Raises: UserError naming the config key, when a placeholder is unknown, missing or
        malformed.
        """
        try:
            found = {
                field for _, field, _, _ in string.Formatter().parse(text) if field is not None
            }
        except ValueError as error:
            raise UserError(
                f"{name}: malformed template ({error}); write a literal brace as {{{{ or }}}}"
            ) from None
        if found - allowed:
            odd, good = ", ".join(sorted(found - allowed)), ", ".join(sorted(allowed))
            raise UserError(f"{name}: unknown placeholder {{{odd}}}; use only {good}")
        if needed and not found & needed:
            raise UserError(
                f"{name}: the template shows none of {', '.join(sorted(needed))}; add one in braces"
            )
        cut = text.rfind("\n", 0, text.index("{")) + 1 if "{" in text else len(text)
        return cls(text[:cut].format(), text[cut:])

    def body(self, **fields: str) -> str:
        """The variable part, filled in."""
        return self.body_template.format(**fields)

    @property
    def opening(self) -> str:
        """How the body begins, whatever is filled in."""
        text = ""
        for literal, name, _, _ in string.Formatter().parse(self.body_template):
            text += literal
            if name is not None:
                break
        return text

    @property
    def identity(self) -> str:
        """Stable short hash: part of the keys under which replayed rewards are found again."""
        return hashlib.sha256(f"{self.header}\x1f{self.body_template}".encode()).hexdigest()[:12]


TASK_FIELDS = {"subject", "edit_fact"}
ANSWER_FIELDS = {"question"}


def task_prompt(text: str) -> PromptTemplate:
    """The prompt that the sampler continues with a question (config key ``prompt.task``)."""
    return PromptTemplate.parse("prompt.task", text, TASK_FIELDS, TASK_FIELDS)


def answer_prompt(text: str) -> PromptTemplate:
    """The prompt that the oracle continues with an answer (config key ``prompt.answer``)."""
    return PromptTemplate.parse("prompt.answer", text, ANSWER_FIELDS, ANSWER_FIELDS)
