"""Prompt templates with a constant header and a variable body.

A template is plain text with `{placeholders}`. The text before the line of the first placeholder is
the *header*. It is the same for every fact or question, so that its keys and values are prefilled
once. The rest is the *body*, which is processed per row.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass

from contraflow.errors import UserError, on_one_line


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
            parts = [part[1:] for part in string.Formatter().parse(text)]
        except ValueError as error:
            raise UserError(
                f"{name}: malformed template ({error}); write a literal brace as {{{{ or }}}}"
            ) from None
        found = {field for field, _, _ in parts if field is not None}
        if found - allowed:
            unknown = on_one_line(", ".join(sorted(found - allowed)))
            known = ", ".join(sorted(allowed))
            raise UserError(f"{name}: unknown placeholder {{{unknown}}}; use only {known}")
        if needed and not found & needed:
            raise UserError(
                f"{name}: the template shows none of {', '.join(sorted(needed))}; add one in braces"
            )
        for field, spec, conversion in parts:
            # Whether Python can format a text this way may depend on the text of a single fact.
            if spec or conversion:
                raise UserError(
                    f"{name}: placeholder {{{field}}} has a format; write it without : and !"
                )
        start = _first_placeholder(text)
        cut = len(text) if start is None else text.rfind("\n", 0, start) + 1
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


def _first_placeholder(text: str) -> int | None:
    """Return where the first placeholder begins; a literal brace is written twice and is none."""
    position = text.find("{")
    while text[position : position + 2] == "{{":
        position = text.find("{", position + 2)
    return None if position < 0 else position


TASK_FIELDS = {"subject", "edit_fact"}
ANSWER_FIELDS = {"question"}


def task_prompt(text: str) -> PromptTemplate:
    """The prompt that the sampler continues with a question (config key ``prompt.task``)."""
    return PromptTemplate.parse("prompt.task", text, TASK_FIELDS, TASK_FIELDS)


def answer_prompt(text: str) -> PromptTemplate:
    """The prompt that the oracle continues with an answer (config key ``prompt.answer``)."""
    return PromptTemplate.parse("prompt.answer", text, ANSWER_FIELDS, ANSWER_FIELDS)
