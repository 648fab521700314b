"""The record of an edit: a fact with the prompts by which an edited model is tested.

An edits file is a facts file with optional keys: `prompt`, `paraphrases`, `locality`,
`portability`, `prefix`, `subject_aliases`, `edited_aliases` and `editor_scores`. Readers of facts
ignore them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from contraflow.facts.fact import BadRowError, Fact, fact_from_row
from contraflow.facts.known import plain_question

Item = TypeVar("Item")


class Probe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question, or a text to be continued, with the answers that are right after the edit.

    kind: such as "locality/neighborhood", "portability/Subject_Aliasing" or "multi_hop".
    answers: spellings of the right answer; empty where none is known, so that the probe can only
        be asked.
    original_answers: those before the edit, where the edit changes the answer and they are known.
    """

    kind: str
    prompt: str
    answers: tuple[str, ...] = ()
    original_answers: tuple[str, ...] = ()


class EditorScores(msgspec.Struct, frozen=True, kw_only=True):
    """What an editor reported of its own edit.

    pre, post: share of the edited answer's tokens that the model predicts behind the edit's own
        prompt (teacher forcing), before and after the edit; None if not reported.
    unchanged: whether all scores and answers before and after the edit are equal, so that the edit
        was probably never applied.
    """

    pre: float | None = None
    post: float | None = None
    unchanged: bool = False


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as an editor was given it, with the tests of its effect.

    prompt: the text or question that the edited answer follows; empty if the fact gives none.
    locality: probes whose answers the edit must keep.
    portability: probes whose answers follow from the edit; multi-hop questions are among them.
    prefix: text put before every question about this edit (an edit in the prompt, as IKE's), with
        its white space.
    subject_aliases, edited_aliases: other spellings of the subject and of the edited answer.
    place: file and line, for messages.
    """

    fact: Fact
    prompt: str = ""
    paraphrases: tuple[str, ...] = ()
    locality: tuple[Probe, ...] = ()
    portability: tuple[Probe, ...] = ()
    prefix: str = ""
    subject_aliases: tuple[str, ...] = ()
    edited_aliases: tuple[str, ...] = ()
    editor_scores: EditorScores | None = None
    place: str = ""

    def joined(self, other: Edit) -> Edit:
        """Return this edit with the tests and aliases of another row about the same edit as well.

        A second prompt is another wording, so it becomes a paraphrase.
        """
        wordings = [*self.paraphrases, *other.paraphrases]
        if other.prompt:
            wordings.append(other.prompt)
        aliases = _once((*self.fact.aliases, *other.fact.aliases))
        return msgspec.structs.replace(
            self,
            fact=msgspec.structs.replace(self.fact, aliases=aliases),
            prompt=self.prompt or other.prompt,
            paraphrases=_once(text for text in wordings if text != (self.prompt or other.prompt)),
            locality=_once((*self.locality, *other.locality)),
            portability=_once((*self.portability, *other.portability)),
            prefix=self.prefix or other.prefix,
            subject_aliases=_once((*self.subject_aliases, *other.subject_aliases)),
            edited_aliases=_once((*self.edited_aliases, *other.edited_aliases)),
            editor_scores=self.editor_scores or other.editor_scores,
        )


TEXT_KEYS = ("prompt", "prefix")
LIST_KEYS = ("paraphrases", "subject_aliases", "edited_aliases")
PROBE_KEYS = ("locality", "portability")
# The keys of an edits file that a facts file lacks.
EDIT_KEYS = (*TEXT_KEYS, *LIST_KEYS, *PROBE_KEYS, "editor_scores")


def edit_from_row(row: Mapping[str, object], place: str = "") -> Edit:
    """Convert one decoded row to an edit.

    Raises: BadRowError that names the defect and the remedy.
    """
    fact = fact_from_row(dict(row))
    return Edit(
        fact=fact,
        prompt=_text(row, "prompt").strip() or prompt_of(fact),
        paraphrases=_texts(row, "paraphrases"),
        locality=_probes(row, "locality"),
        portability=_probes(row, "portability"),
        prefix=_text(row, "prefix"),
        subject_aliases=_texts(row, "subject_aliases"),
        edited_aliases=_texts(row, "edited_aliases"),
        editor_scores=_scores(row),
        place=place,
    )


def row_of(edit: Edit) -> dict[str, Any]:
    """Return the row of an edits file, without empty keys and without a prompt of the fact."""
    row: dict[str, Any] = msgspec.to_builtins(edit.fact)
    for key in EDIT_KEYS:
        value = msgspec.to_builtins(getattr(edit, key))
        if value and not (key == "prompt" and value == prompt_of(edit.fact)):
            row[key] = value
    return row


def prompt_of(fact: Fact) -> str:
    """Return the prompt by which an editor would be given a fact; empty if there is none.

    It is the edited statement up to its answer, or the plain question if the statement does not
    end with the edited answer.
    """
    stem = fact.edit_fact.removesuffix(".")
    prompt = stem.removesuffix(fact.edited_answer.removesuffix("."))
    if prompt != stem and prompt.endswith(" "):
        return prompt.strip()
    return plain_question(fact)


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRowError(f"'{key}' must be a string; put it in quotes")
    return _whole(value, key)


def _texts(row: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise BadRowError(f"'{key}' must be a list of strings")
    return _stripped(_whole(item, key) for item in value)


def _probes(row: Mapping[str, object], key: str) -> tuple[Probe, ...]:
    value = row.get(key)
    if value is None:
        return ()
    try:
        probes = msgspec.convert(value, tuple[Probe, ...])
    except msgspec.ValidationError as error:
        raise BadRowError(
            f"'{key}' must be a list of objects with kind, prompt and answers ({error})"
        ) from None
    except UnicodeEncodeError as error:
        raise BadRowError(f"'{key}' has half of a character: {error.object!r}") from None
    for probe in probes:
        for text in (probe.kind, probe.prompt, *probe.answers, *probe.original_answers):
            _whole(text, key)
        if not probe.prompt.strip():
            raise BadRowError(f"'{key}' has a probe with an empty prompt; leave it out")
    return _once(_stripped_probe(probe) for probe in probes)


def _stripped_probe(probe: Probe) -> Probe:
    return msgspec.structs.replace(
        probe,
        prompt=probe.prompt.strip(),
        answers=_stripped(probe.answers),
        original_answers=_stripped(probe.original_answers),
    )


def _stripped(texts: Iterable[str]) -> tuple[str, ...]:
    return _once(text.strip() for text in texts if text.strip())


def _scores(row: Mapping[str, object]) -> EditorScores | None:
    value = row.get("editor_scores")
    if value is None:
        return None
    try:
        scores = msgspec.convert(value, EditorScores)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise BadRowError(f"'editor_scores' must have pre, post and unchanged ({error})") from None
    if not all(score is None or math.isfinite(score) for score in (scores.pre, scores.post)):
        raise BadRowError("'editor_scores' must be numbers; leave out what is not known")
    return scores


def _whole(text: str, key: str) -> str:
    """Check that a text has no half of a surrogate pair, which has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRowError(
            f"'{key}' has half of a character (a lone surrogate): {text!r}; "
            "write the whole character, or leave the row out"
        ) from None
    return text
