"""Put questions to the control and to edited models, and decide what the answers say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from contraflow.auditing.asking.questions import AuditQuestion
from contraflow.auditing.outcome.rows import Row
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.run.answer_book import AnswerBook
from contraflow.text.questions import leaks_answer, question_is_sound
from contraflow.text.subjects import is_on_subject
from contraflow.text.verdict import answer_verdict
from contraflow.types import Answer, Answerer, AskStyle

_QUESTIONS_TO_TIME = 8


@dataclass(frozen=True)
class Inquiry:
    """A text as it is put to a model, and the style in which it is asked."""

    style: AskStyle
    text: str


Answers = dict[Inquiry, Answer]


@dataclass(frozen=True)
class Asked:
    """The questions of one edit, and the original answer that counts: the file's or the control's.

    largest_unseen: as in `EditDraws`.
    """

    edit: Edit
    original_answer: str
    questions: tuple[AuditQuestion, ...]
    largest_unseen: float | None = None

    def inquiries(self, styles: Sequence[AskStyle], *, of_edited: bool) -> list[Inquiry]:
        """What the control is asked, or the edited model, with the edit in the prompt if any."""
        prefix = self.edit.prefix if of_edited else ""
        return inquiries([question.text for question in self.questions], styles, prefix)


def style_of(text: str, style: AskStyle) -> AskStyle:
    """Questions are asked in the given style; any other text is one to be continued."""
    return style if text.rstrip().endswith("?") else "completion"


def behind(prefix: str, text: str) -> str:
    """A text with an edit in the prompt before it, if there is one."""
    return f"{prefix.strip()} {text}" if prefix.strip() else text


def inquiries(texts: Sequence[str], styles: Sequence[AskStyle], prefix: str = "") -> list[Inquiry]:
    """Every text in every style, a text to be continued once; with a prefix in front."""
    found = [
        Inquiry(style_of(text, style), behind(prefix, text)) for text in texts for style in styles
    ]
    return list(dict.fromkeys(found))


def n_missing(book: AnswerBook, model: Answerer, asked: Sequence[Inquiry]) -> int:
    """How many answers of a model are still to be had."""
    return sum(
        len(book.missing(model.oracle(style), texts)) for style, texts in _by_style(asked).items()
    )


def time_answers(book: AnswerBook, model: Answerer, asked: Sequence[Inquiry]) -> float | None:
    """Seconds an answer takes, from a few of the missing ones; None if none is missing."""
    for style, texts in _by_style(asked).items():
        oracle = model.oracle(style)
        sample = book.missing(oracle, texts)[:_QUESTIONS_TO_TIME]
        if sample:
            started = time.monotonic()
            book.ask(oracle, sample)
            return (time.monotonic() - started) / len(sample)
    return None


def ask(
    book: AnswerBook,
    model: Answerer,
    asked: Sequence[Inquiry],
    on_answers: Callable[[int], None] | None = None,
) -> Answers:
    """The answer to each inquiry; only missing ones are asked."""
    answers: Answers = {}
    for style, texts in _by_style(asked).items():
        found = book.ask(model.oracle(style), texts, on_answers)
        answers |= {Inquiry(style, text): answer for text, answer in zip(texts, found, strict=True)}
    return answers


def _by_style(asked: Sequence[Inquiry]) -> dict[AskStyle, list[str]]:
    texts: dict[AskStyle, list[str]] = {}
    for inquiry in asked:
        texts.setdefault(inquiry.style, []).append(inquiry.text)
    return texts


def verdict(edit: Edit, original_answer: str, question: str, answer: str) -> str:
    """NEW, OLD, BOTH, OTHER or DEGENERATE."""
    fact = edit.fact
    return answer_verdict(
        question,
        answer,
        fact.subject,
        original_answer=original_answer,
        edited_answer=fact.edited_answer,
        aliases=_aliases(fact),
        edited_aliases=edit.edited_aliases,
    ).name


def rows_of(
    asked: Asked,
    styles: Sequence[AskStyle],
    name: str,
    pre: Answers,
    post: Answers,
) -> Iterator[Row]:
    """One row per question and style of an edit, for the edited model `name`.

    A text to be continued has one row, whatever the styles.
    """
    edit, fact = asked.edit, asked.edit.fact
    for question in asked.questions:
        for style in dict.fromkeys(style_of(question.text, style) for style in styles):
            (plain,) = inquiries([question.text], [style])
            (prefixed,) = inquiries([question.text], [style], edit.prefix)
            before, after = pre[plain].text, post[prefixed].text
            yield Row(
                model=name,
                fact_key=fact.key,
                fact_id=fact.fact_id,
                subject=fact.subject,
                edit_fact=fact.edit_fact,
                question=question.text,
                sources=question.sources,
                style=style,
                sound=is_sound(edit, asked.original_answer, question.text),
                weight=question.weight,
                log_p_prior=question.log_p_prior,
                log_pf=question.log_pf,
                pre=verdict(edit, asked.original_answer, question.text, before),
                post=verdict(edit, asked.original_answer, question.text, after),
                pre_answer=before,
                post_answer=after,
            )


def is_sound(edit: Edit, original_answer: str, question: str) -> bool:
    """Whether a question is well-formed, about the subject, and names neither answer.

    No question of an edit without a new answer is: nothing that is said to it can be judged.
    """
    fact = edit.fact
    return bool(fact.edited_answer) and question_is_sound(
        question,
        fact.subject,
        original_answer,
        fact.edited_answer,
        _aliases(fact),
        edit.subject_aliases,
    )


def continuation_is_sound(edit: Edit, original_answer: str, text: str) -> bool:
    """Whether a text to be continued is about the subject, by any name, and names neither answer.

    What stands before the subject may be anything: CounterFact's paraphrases open with a sentence
    of something else.
    """
    fact = edit.fact
    return bool(fact.edited_answer) and any(
        is_on_subject(text, name)
        and not leaks_answer(text, original_answer, fact.edited_answer, _aliases(fact), name)
        for name in (fact.subject, *edit.subject_aliases)
    )


def _aliases(fact: Fact) -> tuple[str, ...]:
    """Other names of the original answer, where the file has one."""
    return fact.aliases if fact.original_answer else ()
