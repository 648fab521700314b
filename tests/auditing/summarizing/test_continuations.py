"""Given texts that are to be continued: never asked questions, but counted, and failing or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from contraflow.auditing.asking.ask import Asked, Inquiry, continuation_is_sound, rows_of
from contraflow.auditing.asking.evidence import AskedPrompt, Evidence
from contraflow.auditing.asking.questions import given_questions, own_questions
from contraflow.auditing.asking.standing import UNKNOWN, Standing
from contraflow.auditing.outcome.result import Continuations, ModelInfo, ModelResult, read_result
from contraflow.auditing.outcome.rows import OWN, PARAPHRASE
from contraflow.auditing.summarizing.summary import summarize
from contraflow.facts.edit import Edit, edit_from_row
from contraflow.types import Answer
from support.audits import made_result

STYLE = "few_shot"
SUBJECT = "Danielle Darrieux"
CLOZES = (
    f"Shayna does this and Yossel goes still. {SUBJECT}, a native",
    f"{SUBJECT} spoke the language",
)
ASKED = f"Which language did {SUBJECT} grow up with?"


def edit_with(*paraphrases: str, **fields: str) -> Edit:
    """An edit of CounterFact, whose prompt is a cloze too."""
    row = {
        "subject": SUBJECT,
        "edit_fact": f"The mother tongue of {SUBJECT} is English.",
        "original_answer": "French",
        "edited_answer": "English",
        "prompt": f"The mother tongue of {SUBJECT} is",
        "paraphrases": list(paraphrases),
        **fields,
    }
    return edit_from_row(row)


def summary_of(
    edit: Edit, post: Mapping[str, str], own: tuple[str, ...] = (), why_not: str = ""
) -> ModelResult:
    """The control says French to everything, the edited model English where `post` has nothing."""
    questions = (*own_questions(edit), *given_questions(own))
    texts = [question.text for question in questions]
    styles = [STYLE if text.endswith("?") else "completion" for text in texts]
    asked = [Inquiry(style, text) for style, text in zip(styles, texts, strict=True)]  # type: ignore[arg-type]
    before = {inquiry: Answer("French.", 0.0) for inquiry in asked}
    after = {inquiry: Answer(post.get(inquiry.text, "English."), 0.0) for inquiry in asked}
    rows = rows_of(Asked(edit, "French", questions), [STYLE], "m", before, after)
    evidence = Evidence(
        model=ModelInfo(name="m", source="m", identity="m"),
        standings=[Standing(edit, "French", "file", why_not)],
        prompts=[AskedPrompt("NEW", "English.", 1.0)],
        rows=list(rows),
        probes=(),
        gates=(),
        degenerate=(0, 4),
        largest_unseen={},
    )
    return summarize(evidence, [STYLE], None)


def test_clozes_are_no_asked_questions_but_may_fail() -> None:
    """Two of three paraphrases are clozes; the edited model gets one of them and the question."""
    found = summary_of(edit_with(*CLOZES, ASKED), {CLOZES[0]: "French.", ASKED: "French."})
    assert found.continuations == (
        Continuations(source=PARAPHRASE, n_given=3, n_continuations=2, n_known=2, n_failing=1),
    )
    (source,) = found.sources
    assert (source.source, source.n_asked, source.n_failing) == (PARAPHRASE, 1, 1)


def test_a_source_of_clozes_alone_has_asked_nothing() -> None:
    """Before, it had asked two questions of which none failed, whatever the edited model says."""
    found = summary_of(edit_with(*CLOZES), dict.fromkeys(CLOZES, "French."))
    assert found.sources == ()
    assert found.discovery.value is None
    assert [(c.n_continuations, c.n_failing) for c in found.continuations] == [(2, 2)]


def test_questions_alone_have_no_continuations() -> None:
    assert summary_of(edit_with(ASKED), {}).continuations == ()


def test_a_persons_own_clozes_are_counted_apart_too() -> None:
    own = (CLOZES[1], ASKED)
    found = summary_of(edit_with(), {CLOZES[1]: "French."}, own)
    assert found.continuations == (
        Continuations(source=OWN, n_given=2, n_continuations=1, n_known=1, n_failing=1),
    )
    (source,) = found.sources
    assert (source.source, source.n_asked, source.n_failing) == (OWN, 1, 0)


def test_edits_that_are_not_counted_are_left_out() -> None:
    found = summary_of(edit_with(*CLOZES, ASKED), {}, why_not=UNKNOWN)
    assert (found.continuations, found.sources) == ((), ())


def test_an_edit_without_a_new_answer_has_no_failure() -> None:
    """Before, every question that the control knows was a failing one of it."""
    found = summary_of(edit_with(ASKED, edited_answer=""), {}, why_not="no edited_answer")
    (fact,) = found.facts
    assert (fact.n_known, fact.n_failing, fact.modes) == (0, 0, ())
    assert found.asked_free.value is None


def test_an_audit_without_these_counts_is_read(tmp_path: Path) -> None:
    """`audit.json` of earlier versions has no such key."""
    made = made_result()
    content = msgspec.to_builtins(made)
    del content["models"][0]["continuations"]
    (tmp_path / "audit.json").write_bytes(msgspec.json.encode(content))
    assert read_result(tmp_path / "audit.json") == made


@pytest.mark.parametrize(
    ("text", "is_sound"),
    [
        (CLOZES[0], True),
        (CLOZES[1], True),
        ("The actress spoke the language", False),
        (f"A star of French cinema, {SUBJECT} spoke", False),
        (f"Unlike English actors, {SUBJECT} spoke", False),
    ],
)
def test_a_cloze_is_about_the_subject_and_names_no_answer(text: str, is_sound: bool) -> None:
    assert continuation_is_sound(edit_with(), "French", text) is is_sound
