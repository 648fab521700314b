"""Test prompts of the published formats: paraphrases, locality and portability.

Their form varies between versions of a data set, and a row without them still is an edit. So they
are read leniently: a form that is not known is reported, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from contraflow.facts.fact import NO_ANSWER
from contraflow.facts.formats._texts import clean_prompt

Group = Literal["locality", "portability"]
# The key of a row under which it lists the fields whose form is not known.
UNREAD = "unread"
_PROMPT_NAMES = ("prompt", "loc", "New Question", "question")
_ANSWER_NAMES = ("ground_truth", "loc_ans", "New Answer", "answer")
# Answers are texts, lists of spellings, or lists of these.
_MAX_DEPTH = 4
# A text that stands for "no answer known".


class _UnknownFormError(ValueError):
    """A value has none of the known forms."""


@dataclass
class TestPrompts:
    """The test prompts of one row, gathered field by field."""

    paraphrases: list[str] = field(default_factory=list)
    locality: list[dict[str, Any]] = field(default_factory=list)
    portability: list[dict[str, Any]] = field(default_factory=list)
    subject_aliases: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def fields(self) -> dict[str, object]:
        """Return the fields of the row of an edit."""
        return {
            "paraphrases": self.paraphrases,
            "locality": self.locality,
            "portability": self.portability,
            "subject_aliases": self.subject_aliases,
            UNREAD: self.unread,
        }

    def add_paraphrases(self, name: str, value: object) -> None:
        """Read other wordings of the edit's prompt: a text or a list of texts."""
        try:
            self.paraphrases += [clean_prompt(text) for text in _texts(value)]
        except _UnknownFormError:
            self.unread.append(name)

    def add(
        self,
        group: Group,
        kind: str,
        prompts: object,
        answers: object,
        original_answers: object = None,
    ) -> None:
        """Read prompts that have the same right answers: a text or a list of texts each."""
        try:
            found = _probes(kind, prompts, answers, original_answers)
        except _UnknownFormError:
            self.unread.append(kind)
            return
        getattr(self, group).extend(found)

    def add_tests(self, group: Group, value: object) -> None:
        """Read EasyEdit's tests of a group, by kind: {"Relation_Specificity": [{prompt, …}, …]}.

        A kind holds one object or a list of them. The prompt of an object is a text, or a list
        beside a list of answers. Without kinds, the group is one such object or list.
        """
        if not value:
            return
        by_kind = value if isinstance(value, dict) and not _is_test(value) else {"": value}
        for name, tests in by_kind.items():
            kind = f"{group}/{name}" if name else group
            try:
                getattr(self, group).extend(_tests(kind, tests))
            except _UnknownFormError:
                self.unread.append(kind)

    def find_subject_aliases(self, prompt: str, subject: str) -> None:
        """Read other names of the subject out of prompts that differ from the edit's by it only."""
        before, found, after = prompt.partition(subject)
        if not found:
            return
        for probe in self.portability:
            text = str(probe["prompt"])
            is_alike = text.startswith(before) and text.endswith(after)
            alias = text[len(before) : len(text) - len(after)].strip()
            if probe["kind"].endswith("Subject_Aliasing") and is_alike and alias:
                self.subject_aliases.append(alias)


def spellings_of(answers: object) -> list[str]:
    """Return all texts in an answer of any known form, without placeholders; else nothing."""
    try:
        return _texts(answers)
    except _UnknownFormError:
        return []


def _is_test(value: dict[Any, Any]) -> bool:
    return any(name in value for name in _PROMPT_NAMES)


def _tests(kind: str, value: object) -> Iterator[dict[str, Any]]:
    if value is None:
        return
    for test in value if isinstance(value, list) else [value]:
        if not isinstance(test, dict) or not _is_test(test):
            raise _UnknownFormError
        prompts = _first(test, _PROMPT_NAMES)
        answers = _first(test, _ANSWER_NAMES)
        if isinstance(prompts, list) and isinstance(answers, list) and len(prompts) > 1:
            if len(prompts) != len(answers):
                raise _UnknownFormError
            pairs = list(zip(prompts, answers, strict=True))
        else:
            pairs = [(prompts, answers)]
        for prompt, answer in pairs:
            yield from _probes(kind, prompt, answer)


def _first(test: dict[str, Any], names: Sequence[str]) -> object:
    return next((test[name] for name in names if name in test), None)


def _probes(
    kind: str, prompts: object, answers: object, original_answers: object = None
) -> list[dict[str, Any]]:
    """Return a probe for each prompt, with the same answers. Raises: _UnknownFormError."""
    probe: dict[str, Any] = {"kind": kind, "answers": _texts(answers)}
    if originals := _texts(original_answers):
        probe["original_answers"] = originals
    cleaned = (clean_prompt(prompt) for prompt in _texts(prompts))
    return [probe | {"prompt": prompt} for prompt in cleaned if prompt]


def _texts(value: object, depth: int = 0) -> list[str]:
    """Return the texts in nested lists, without blank ones. Raises: _UnknownFormError."""
    if value is None:
        return []
    if isinstance(value, str):
        text = value.strip()
        return [text] if text and text != NO_ANSWER else []
    if not isinstance(value, list) or depth >= _MAX_DEPTH:
        raise _UnknownFormError
    return [text for item in value for text in _texts(item, depth + 1)]
