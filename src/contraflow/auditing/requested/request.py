"""What a user asks for in an audit, and the checks that need no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from contraflow.auditing.requested.arguments import (
    NO_ADAPTER,
    check_names,
    check_numbers,
    check_share,
    check_styles,
)
from contraflow.auditing.requested.out_folder import check_out, is_same_source
from contraflow.auditing.requested.prefixes import with_prefix
from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts, read_facts
from contraflow.facts.edit import Edit
from contraflow.facts.edits import EditsFile, check_edits, read_edits, write_edits
from contraflow.reward.oracle.served.source import is_served, parse_served
from contraflow.system.addresses import without_logins
from contraflow.system.run_names import SHIPPED, UNTRAINED

if TYPE_CHECKING:
    from contraflow.types import AskStyle

NONE = "none"


@dataclass(frozen=True)
class AuditRequest:
    """The arguments of `contraflow audit`; models are given by name.

    given: edits in memory, which the audit writes to `edits`.
    questions: a file of a person's own questions, instead of the n draws of each edit.
    neighbors: facts that locality questions are made from: `shipped`, `none`, or a file.
    prefix: a template with {edit_fact} and {subject}, put before each question to the edited model.
    fail_over: the edit failure above which the command's exit code is 1.
    overrides: settings as the user wrote them, to be shown in the report.
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
    fail_over: float | None = None
    overrides: tuple[str, ...] = ()
    given: tuple[Edit, ...] = ()

    def check(self) -> None:
        """Check every value, read every file, look for every model, without loading one.

        Raises: UserError, in one line with the remedy.
        """
        check_numbers({"n": self.n, "seed": self.seed, "adapt_steps": self.adapt_steps})
        check_share("fail_over", self.fail_over)
        if self.adapt_steps and self.run == UNTRAINED:
            raise UserError(NO_ADAPTER)
        check_styles(self.styles)
        check_names(self.names, max(1, len(self.edited)))
        check_edits(self.file.edits)
        self.neighbor_facts()
        self.own_questions()
        self._check_out()
        in_prompt = any(edit.prefix for edit in self.file.edits)
        check_models(self.edited, self.control, has_prefix=in_prompt)

    @cached_property
    def file(self) -> EditsFile:
        """The edits, with the prefix of the request where they have none. Raises: UserError."""
        found = self.file_as_given
        return msgspec.structs.replace(found, edits=with_prefix(found.edits, self.prefix))

    @cached_property
    def file_as_given(self) -> EditsFile:
        """The edits without the prefix of the request. Raises: UserError."""
        return _read_back(self.given, self.edits) if self.given else _read(self.edits)

    def _check_out(self) -> None:
        has_file = self.neighbors not in (NONE, SHIPPED)
        check_out(
            self.out,
            edited=self.edited,
            control=self.control,
            edits=self.file.edits,
            inputs={
                "edits": None if self.given else self.edits,
                "questions": self.questions,
                "neighbors": Path(self.neighbors) if has_file else None,
            },
        )

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

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the edited models for people: the user's, or what tells them apart."""
        if self.names:
            return self.names
        short = tuple(map(_short_name, self.edited))
        return short if len(set(short)) == len(short) else self.edited

    def shown(self) -> dict[str, str]:
        """What was asked for, by the words of the command line, without models and edits.

        A person's own questions are all asked, so `n` is only there where questions are drawn.
        """
        shown = {
            "run": self.run,
            **({"n": str(self.n)} if self.questions is None else {}),
            "ask": ",".join(self.styles),
            "seed": str(self.seed),
            "adapt_steps": str(self.adapt_steps),
            "neighbors": self.neighbors,
        }
        if self.questions is not None:
            shown["questions"] = str(self.questions)
        if self.prefix:
            shown["prefix"] = self.prefix
        if self.fail_over is not None:
            shown["fail_over"] = f"{self.fail_over:g}"
        for override in self.overrides:
            key, _, value = override.partition("=")
            shown[key] = without_logins(value)
        return shown


def _read(path: Path) -> EditsFile:
    """The edits of a file that somebody named.

    Raises: UserError; one that names arguments of the conversion says which command takes them.
    """
    try:
        return read_edits(path)
    except UserError as error:
        if not re.search(r"\b(columns\.|format=|ignore=)", str(error)):
            raise
        raise UserError(
            f"{error}; these are arguments of `contraflow data convert in={path} out=edits.jsonl`, "
            "which makes an edits file"
        ) from None


def _read_back(edits: Sequence[Edit], name: Path) -> EditsFile:
    """The edits as they are read from a file called `name`, which is not written yet.

    Raises: UserError.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / name.name
        write_edits(path, edits)
        try:
            found = read_edits(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), str(name))) from None
    return EditsFile(
        edits=tuple(
            msgspec.structs.replace(edit, place=edit.place.replace(str(path), str(name)))
            for edit in found.edits
        ),
        notes=tuple(note.replace(str(path), str(name)) for note in found.notes),
    )


def _short_name(source: str) -> str:
    """Model and host of a served model, the end of any other path."""
    if is_served(source):
        return parse_served(source).label
    return source.rstrip("/").rpartition("/")[2] or source


def check_models(edited: Sequence[str], control: str | None, *, has_prefix: bool) -> None:
    """Check the named models as far as that needs no model. Raises: UserError."""
    from contraflow.run.answerers import check_source, control_of

    _check_different(edited, control, has_prefix=has_prefix)
    if control is not None:
        _check_no_delta(edited, control)
        check_source(control, "control")
    for source in edited:
        check_source(source, "edited", has_control=control is not None)
    if control is None and edited:
        control_of(edited[0])


def _check_different(edited: Sequence[str], control: str | None, *, has_prefix: bool) -> None:
    """Two names of one model count as equal."""
    for one, other in combinations(edited, 2):
        if is_same_source(one, other):
            raise UserError(f"edited={','.join(edited)}: names a model twice; keep one of them")
    if control is None or has_prefix:
        return
    if any(is_same_source(control, source) for source in edited):
        tag = ", tell two versions behind one name apart by #MODEL@TAG" * is_served(control)
        raise UserError(
            f"edited={control}: is also the control, so nothing is edited; name the edited "
            f"model{tag}, or put the edit into the prompt with prefix="
        )


def _check_no_delta(edited: Sequence[str], control: str) -> None:
    """A delta stands on weights, and a served control has none to put it into."""
    from contraflow.models.weights.sources import source_of

    for source in edited:
        if is_served(control) and source_of(source).form == "delta":
            raise UserError(
                f"edited={source}: replaces tensors of the control, but control={control} is "
                "served; name the same model in a folder as control"
            )
