"""Prompt templates with a constant header and a variable body.

A template is plain text with `{placeholders}`. The text before the line of the first placeholder is
the *header*. It is the same for every fact or question, so that its keys and values are prefilled
once. The rest is the *body*, which is processed per row.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass

from contraflow.errors import UserError


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt, split at the start of the line of its first placeholder."""

    header: str
    body_template: str

    @classmethod
    def parse(cls, name: str, text: str, allowed: set[str], needed: set[str]) -> PromptTemplate:
        """Split a template into header and body.

        `name`: config key, for messages. `allowed`: the known placeholders. `needed`: the template
        must contain at least one of them.

        Raises: UserError that names the config key, if a placeholder is unknown, missing or
        malformed.
        """
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(text)]
        except ValueError as error:
            raise UserError(
                f"{name}: malformed template ({error}); write a literal brace as {{{{ or }}}}"
            ) from None
        found = {field for field in fields if field is not None}
        if found - allowed:
            unknown = ", ".join(sorted(found - allowed))
            known = ", ".join(sorted(allowed))
            raise UserError(f"{name}: unknown placeholder {{{unknown}}}; use only {known}")
        if needed and not found & needed:
            raise UserError(
                f"{name}: the template shows none of {', '.join(sorted(needed))}; add one in braces"
            )
        cut = text.rfind("\n", 0, text.index("{")) + 1 if "{" in text else len(text)
        return cls(text[:cut].format(), text[cut:])

    def body(self, **fields: str) -> str:
        """Return the body with its placeholders filled in."""
        return self.body_template.format(**fields)

    @property
    def opening(self) -> str:
        """The constant start of the body, up to its first placeholder."""
        text = ""
        for literal, name, _, _ in string.Formatter().parse(self.body_template):
            text += literal
            if name is not None:
                break
        return text

    @property
    def identity(self) -> str:
        """Stable hash of the template (12 hex digits), a part of the keys of replayed rewards."""
        return hashlib.sha256(f"{self.header}\x1f{self.body_template}".encode()).hexdigest()[:12]


TASK_FIELDS = {"subject", "edit_fact"}
ANSWER_FIELDS = {"question"}


def task_prompt(text: str) -> PromptTemplate:
    """The prompt that the sampler continues with a question (config key ``prompt.task``)."""
    return PromptTemplate.parse("prompt.task", text, TASK_FIELDS, TASK_FIELDS)


def answer_prompt(text: str) -> PromptTemplate:
    """The prompt that the oracle continues with an answer (config key ``prompt.answer``)."""
    return PromptTemplate.parse("prompt.answer", text, ANSWER_FIELDS, ANSWER_FIELDS)
