"""What else broke: locality, portability and two-hop questions, before and after the edit.

Each probe has answers of its own. `pre` and `post` are the shares of right answers of the control
and of the edited model; `kept` looks only at those that the control got right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from contraflow.auditing.asking.ask import Answers, Inquiry, behind, style_of
from contraflow.auditing.asking.questions import own_questions
from contraflow.auditing.outcome.result import ProbeRate
from contraflow.auditing.statistics.estimates import proportion
from contraflow.facts.edit import Edit, Probe
from contraflow.text.answers import is_degenerate
from contraflow.text.folding import caseless
from contraflow.text.match import mentions, same_answer
from contraflow.text.negation import asserted
from contraflow.text.tokens import normalize
from contraflow.types import Answer, AskStyle

MAX_LOST_SHOWN = 20


@dataclass(frozen=True)
class AskedProbe:
    """A probe of one edit with the inquiry that it makes."""

    edit: Edit
    probe: Probe
    before: Inquiry
    after: Inquiry


def as_locality(probe: Probe) -> Probe:
    """The probe with a kind that says so, of an edits file in which any word is one."""
    if probe.kind.startswith("locality"):
        return probe
    return msgspec.structs.replace(probe, kind=f"locality/{probe.kind}")


def unaffected(probes: Sequence[tuple[Edit, Probe]]) -> list[tuple[Edit, Probe]]:
    """The probes without locality questions about what one of their edits changes.

    That is a wording of an edit, or a text that names its subject and is answered by its original
    answer. A file's own locality questions may be about the next edit in it.
    """
    edits = list({edit.fact.key: edit for edit, _ in probes}.values())
    wordings = {normalize(one.text) for edit in edits for one in own_questions(edit)}
    changed = [
        (name, (edit.fact.original_answer, *edit.fact.aliases))
        for edit in edits
        if edit.fact.original_answer
        for name in (edit.fact.subject, *edit.subject_aliases)
    ]

    def is_changed(probe: Probe) -> bool:
        if normalize(probe.prompt) in wordings:
            return True
        text = caseless(probe.prompt)
        return any(
            caseless(subject) in text
            and mentions(probe.prompt, subject)
            and any(same_answer(a, b) for a in probe.answers for b in old)
            for subject, old in changed
        )

    return [
        (edit, probe)
        for edit, probe in probes
        if not (probe.kind.startswith("locality") and is_changed(probe))
    ]


def asked_probes(probes: Sequence[tuple[Edit, Probe]], style: AskStyle) -> list[AskedProbe]:
    """Each probe that has an answer, in one style; an edit in the prompt stands before it too.

    Edits share neighbors, and one question has one answer: it is asked and counted once, as a
    locality question or as another.
    """
    asked: dict[tuple[object, ...], AskedProbe] = {}
    for edit, probe in probes:
        if probe.answers:
            kind = style_of(probe.prompt, style)
            before = Inquiry(kind, probe.prompt)
            after = Inquiry(kind, behind(edit.prefix, probe.prompt))
            is_local = probe.kind.startswith("locality")
            key = (is_local, before, after, probe.answers, probe.original_answers)
            asked.setdefault(key, AskedProbe(edit, probe, before, after))
    return list(asked.values())


def probe_rates(asked: Sequence[AskedProbe], pre: Answers, post: Answers) -> tuple[ProbeRate, ...]:
    """The rates of each kind, in the order in which the kinds first appear."""
    kinds = dict.fromkeys(probe.probe.kind for probe in asked)
    return tuple(
        _rate(kind, [a for a in asked if a.probe.kind == kind], pre, post) for kind in kinds
    )


def count_degenerate(asked: Sequence[AskedProbe], post: Answers) -> tuple[int, int]:
    """How many of how many locality answers of an edited model are degenerate."""
    local = [a for a in asked if a.probe.kind.startswith("locality")]
    return sum(is_degenerate(post[a.after].text, a.probe.prompt) for a in local), len(local)


def _rate(
    kind: str,
    asked: Sequence[AskedProbe],
    pre: Answers,
    post: Answers,
) -> ProbeRate:
    # Before the edit another answer may be right ("The capital of the Kingdom of Norway is").
    was = [_is_right(pre[a.before], a.probe.original_answers or a.probe.answers) for a in asked]
    now = [_is_right(post[a.after], a.probe.answers) for a in asked]
    lost = [
        (a.probe.prompt, pre[a.before].text, post[a.after].text)
        for a, before, after in zip(asked, was, now, strict=True)
        if before and not after
    ]
    n_kept = sum(before and after for before, after in zip(was, now, strict=True))
    return ProbeRate(
        kind=kind,
        n=len(asked),
        pre=proportion(sum(was), len(was)),
        post=proportion(sum(now), len(now)),
        kept=proportion(n_kept, sum(was)),
        lost=tuple(lost[:MAX_LOST_SHOWN]),
    )


def _is_right(answer: Answer, accepted: Sequence[str]) -> bool:
    text = asserted(answer.text)
    return any(mentions(text, name) for name in accepted)
