"""Wordings that made other edits fail, tried with this edit's subject where they are natural."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pytest
import torch

from contraflow.auditing.outcome.rows import PARAPHRASE, PLAIN, PRIOR, Row
from contraflow.auditing.searching.borrowed import (
    MOST_BORROWED,
    Borrowed,
    borrowed_questions,
    log_prior_of,
    natural_questions,
    own_known,
)
from contraflow.exactness.space import FACTS, make_space
from contraflow.facts import Fact
from support.audit_rows import made_rows

FACT = Fact(fact_id="oslo", subject="Oslo", edit_fact="Oslo is in Peru.")
ROW = made_rows("edited", 0, 0.0, np.random.default_rng(0))[0]


def row(subject: str, question: str, *, fails: bool = True) -> Row:
    post = "OLD" if fails else "NEW"
    key = FACT.key if subject == "Oslo" else subject
    return msgspec.structs.replace(
        ROW, fact_key=key, subject=subject, question=question, sound=True, pre="OLD", post=post
    )


def borrowed(rows: Sequence[Row], fact: Fact = FACT, alike: Sequence[str] = ()) -> list[str]:
    return [one.text for one in borrowed_questions(rows, fact, alike)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("Rome", "Where is Rome?")], ["Where is Oslo?"]),
        ([row("Rome", "Where is Rome?", fails=False)], []),
        ([row("Rome", "Where is it?")], []),
        ([row("Oslo", "Where is Oslo?")], []),
        ([row("Rome", "Where is Rome?"), row("Oslo", "Where is Oslo?", fails=False)], []),
        ([row("Rome", "Where is Rome?"), row("Bonn", "Where is Bonn?")], ["Where is Oslo?"]),
    ],
)
def test_failing_wordings_of_other_edits(rows: list[Row], expected: list[str]) -> None:
    """Not what works there, has no subject in it, or was asked of this edit already."""
    assert borrowed(rows) == expected


def test_each_other_edit_gives_one_in_turn() -> None:
    """Those of the same relation first."""
    rows = [row("Rome", f"Is Rome {i}?") for i in range(3)]
    rows += [row("Bonn", f"Was Bonn {i}?") for i in range(2)]
    found = borrowed_questions(rows, FACT, {"Bonn"})
    assert [one.text for one in found] == [
        "Was Oslo 0?",
        "Is Oslo 0?",
        "Was Oslo 1?",
        "Is Oslo 1?",
        "Is Oslo 2?",
    ]
    assert [one.is_alike for one in found] == [True, False, True, False, False]


def test_the_article_is_the_subjects_own() -> None:
    """ "the Rome" is no reason for "the Oslo"; the Alhambra has one in its statement."""
    rows = [row("Rome", "In which country is the Rome?"), row("Bonn", "Where is Bonn?")]
    assert borrowed(rows) == ["In which country is Oslo?", "Where is Oslo?"]
    alhambra = Fact(fact_id="a", subject="Alhambra", edit_fact="The Alhambra is in Peru.")
    assert borrowed(rows, alhambra) == [
        "In which country is the Alhambra?",
        "Where is the Alhambra?",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sources": (PLAIN,)}, ["Where is Oslo?"]),
        ({"sources": (PARAPHRASE, PRIOR)}, ["Where is Oslo?"]),
        ({"sources": (PRIOR,)}, []),
        ({"sources": (PLAIN,), "pre": "OTHER"}, []),
        ({"sources": (PLAIN,), "sound": False}, []),
    ],
)
def test_the_yardstick_is_the_edits_own_known_ones(
    changes: dict[str, object], expected: list[str]
) -> None:
    """A draw of the sampler is none, nor one that the control cannot answer."""
    own = msgspec.structs.replace(row("Oslo", "Where is Oslo?"), **changes)
    assert own_known([own, own, row("Rome", "Where is Rome?")], FACT) == expected


@pytest.mark.parametrize(
    ("theirs", "alike", "expected"),
    [
        ("Who wrote Emma?", [], []),
        ("Who wrote Emma?", ["Emma"], ["Which land knows Oslo?"]),
        ("Where is Emma?", [], ["Which land knows Oslo?"]),
        ("", [], ["Which land knows Oslo?"]),
    ],
)
def test_no_wording_of_an_edit_that_asks_for_other_things(
    theirs: str, alike: list[str], expected: list[str]
) -> None:
    """This edit asks "where"; one that asks "who" gives a wording only in the same relation.

    Where it has no question of its own that the control knows, nobody can say.
    """
    rows = [row("Emma", "Which land knows Emma?")]
    for subject, own in (("Oslo", "Where is Oslo?"), ("Emma", theirs)):
        if own:
            plain = row(subject, own, fails=False)
            rows.append(msgspec.structs.replace(plain, sources=(PLAIN,)))
    assert borrowed(rows, alike=alike) == expected


def natural(log_p: Mapping[str, float], alike: Sequence[str] = ()) -> list[str]:
    """Of all questions but those that begin with "own"; what has no log P cannot be written."""
    names = [*log_p, "unwritable"]
    found = [Borrowed(text, text in alike) for text in names if not text.startswith("own")]
    own = [text for text in names if text.startswith("own")]
    return natural_questions(found, own, lambda texts: [log_p.get(text) for text in texts])


def test_rarer_than_own_questions_by_twenty_at_most() -> None:
    """The rarest own question has log P_Q = -10: the limit is -10 - log 20."""
    limit = -10.0 - math.log(20)
    found = {"own 1": -10.0, "own 2": -3.0, "just": limit + 1e-6, "no": limit - 1e-6, "yes": -4.0}
    assert natural(found, alike=["no"]) == ["just", "yes"]


def test_without_own_questions_the_relation_decides() -> None:
    assert natural({"a": -3.0, "b": -50.0}, alike=["b"]) == ["b"]


def test_only_so_many_are_taken() -> None:
    found = {"own": -10.0} | {f"q{i}": -9.0 for i in range(2 * MOST_BORROWED)}
    assert natural(found) == [f"q{i}" for i in range(MOST_BORROWED)]


def test_log_p_q_is_that_of_the_enumerated_space() -> None:
    """With a trained adapter too, P_Q is the sampler without it; 340 questions sum to 1."""
    space = make_space(architecture="llama", n_tokens=4, max_len=4, reward="table", seed=0)
    with torch.no_grad():
        for name, parameter in space.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))
    texts = [space.policy.question_text(ids) for ids in space.questions]
    score = log_prior_of(space.policy, FACTS[0])
    log_p = [value for value in score(texts) if value is not None]
    assert sum(map(math.exp, log_p)) == pytest.approx(1.0, abs=1e-4)
    assert score(["x y z?"]) == [None]
    assert score([]) == []
