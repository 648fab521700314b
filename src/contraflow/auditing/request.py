"""What a user asks for in an audit, and the checks that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts, read_facts
from contraflow.facts.edit import Edit
from contraflow.facts.edits import EditsFile, check_edits, read_edits
from contraflow.system.run_names import SHIPPED
from contraflow.text.prompts import PromptTemplate

if TYPE_CHECKING:
    from contraflow.types import AskStyle

NONE = "none"


@dataclass(frozen=True)
class AuditRequest:
    """The arguments of `contraflow audit`; models are given by name.

    questions: a file of a person's own questions, instead of draws.
    neighbors: facts that locality questions are made from: `shipped`, `none`, or a file.
    prefix: a template with {edit_fact} and {subject}, put before each question to the edited model.
    """

    edits: Path
    out: Path
    run: str = SHIPPED
    edited: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    control: str | None = None
    n: int = 32
    styles: tuple[AskStyle, ...] = ("few_shot",)
    seed: int = 0
    adapt_steps: int = 0
    questions: Path | None = None
    neighbors: str = SHIPPED
    prefix: str = ""

    def check(self) -> None:
        """Read every file and look for every model, without loading one.

        Raises: UserError, in one line with the remedy.
        """
        check_edits(self.file.edits)
        self.neighbor_facts()
        self.own_questions()
        check_models(self.edited, self.control, has_prefix=bool(self.prefix))

    @cached_property
    def file(self) -> EditsFile:
        """The edits, with the prefix of the request where they have none. Raises: UserError."""
        found = read_edits(self.edits)
        return msgspec.structs.replace(found, edits=with_prefix(found.edits, self.prefix))

    def neighbor_facts(self) -> list[Fact]:
        """Facts about other things, whose answers an edit should leave alone. Raises: UserError."""
        if self.neighbors == NONE:
            return []
        return default_facts() if self.neighbors == SHIPPED else read_facts(self.neighbors)

    def own_questions(self) -> dict[str, tuple[str, ...]] | None:
        """A person's own questions by fact key; None where questions are drawn.

        Raises: UserError naming file and line.
        """
        if self.questions is None:
            return None
        from contraflow.run.import_questions import read_questions

        own: dict[str, list[str]] = {}
        for question in read_questions(self.questions, [edit.fact for edit in self.file.edits]):
            own.setdefault(question.fact.key, []).append(question.question)
        return {key: tuple(texts) for key, texts in own.items()}


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


def check_models(edited: Sequence[str], control: str | None, *, has_prefix: bool) -> None:
    """Check the named models as far as that needs no model. Raises: UserError."""
    from contraflow.run.answerers import check_source

    if len(set(edited)) != len(edited):
        raise UserError(f"edited={','.join(edited)}: names a model twice; keep one of them")
    if control is not None:
        check_source(control, "control")
        if control in edited and not has_prefix:
            raise UserError(
                f"edited={control}: is also the control, so nothing is edited; name the edited "
                "model, or put the edit into the prompt with prefix="
            )
    for source in edited:
        check_source(source, "edited", has_control=control is not None)
