"""An edit in the prompt: the text that is put before each question to the edited model.

The prefix is the edit, so an audit with another one is an audit of another edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from contraflow.errors import UserError
from contraflow.facts.edit import Edit
from contraflow.text.prompts import PromptTemplate

_SHOWN = 60


def with_prefix(edits: Sequence[Edit], template: str) -> tuple[Edit, ...]:
    """Fill the template in for every edit that has no prefix of its own. Raises: UserError."""
    if not template:
        return tuple(edits)
    allowed = {"subject", "edit_fact"}
    prompt = PromptTemplate.parse("prefix", template, allowed, set())
    return tuple(
        edit
        if edit.prefix
        else msgspec.structs.replace(
            edit,
            prefix=prompt.header
            + prompt.body(subject=edit.fact.subject, edit_fact=edit.fact.edit_fact),
        )
        for edit in edits
    )


def check_same_prefixes(out: Path, before: Sequence[Edit], now: Sequence[Edit]) -> None:
    """Check that edits which an earlier audit in this folder had are asked behind the same texts.

    Raises: UserError naming the first edit that is not, both texts and the remedy.
    """
    known: dict[str, set[str]] = {}
    for edit in before:
        known.setdefault(edit.fact.edit_fact, set()).add(edit.prefix.strip())
    for edit in now:
        prefixes = known.get(edit.fact.edit_fact)
        if prefixes and edit.prefix.strip() not in prefixes:
            raise UserError(
                f"out={out}: holds an audit with {_said(min(prefixes))} before the questions about "
                f"{edit.fact.subject}, which one with {_said(edit.prefix)} would replace; name "
                "another folder with out="
            )


def _said(prefix: str) -> str:
    text = prefix.strip()
    if not text:
        return "no prefix"
    return f"the prefix {text[:_SHOWN]!r}{'…' if len(text) > _SHOWN else ''}"
