"""Openings that made other edits fail, and what the untrained sampler asks after them."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import numpy as np
import pytest
import torch

from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.searching.openings import (
    MOST_OPENED,
    MOST_OPENINGS,
    WELL_ASKED,
    failing_openings,
    opened_questions,
    opening_of,
    questions_after,
)
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.facts import Fact
from support.audit_rows import made_rows

FACT = Fact(fact_id="oslo", subject="Oslo", edit_fact="Oslo is in Peru.")
ROW = made_rows("edited", 0, 0.0, np.random.default_rng(0))[0]
N_DRAWS = 4000


def row(subject: str, question: str, *, fails: bool, pre: str = "OLD") -> Row:
    key = FACT.key if subject == "Oslo" else subject
    post = "OLD" if fails else "NEW"
    return msgspec.structs.replace(
        ROW, fact_key=key, subject=subject, question=question, sound=True, pre=pre, post=post
    )


@pytest.mark.parametrize(
    ("question", "opening"),
    [
        ("Which city is Oslo?", "Which"),
        ("which city is Oslo?", "which"),
        ("What's Oslo?", "What's"),
        ('"Where is Oslo" is what?', "Where"),
        ("Oslo?", ""),
    ],
)
def test_an_opening_is_the_first_word(question: str, opening: str) -> None:
    assert opening_of(question) == opening


def test_openings_that_fail_most_come_first() -> None:
    """Which: 3 / (3 + 2), Who: 1 / (1 + 2), When: 1 / (2 + 2); "Where" never fails elsewhere.

    "What" is left out: this edit was asked three known questions of it. "When" was asked too, but
    the control did not know. Its own failures do not count.
    """
    rows = [
        row("Rome", "When is Rome?", fails=True),
        row("Rome", "When was Rome?", fails=False),
        row("Rome", "Who is Rome?", fails=True),
        row("Rome", "Which city is Rome?", fails=True),
        row("Rome", "which land is Rome in?", fails=True),
        row("Bonn", "Which city is Bonn?", fails=True),
        row("Bonn", "Where is Bonn?", fails=False),
        row("Bonn", "What is Bonn?", fails=True),
        row("Oslo", "Is Oslo big?", fails=True),
    ]
    rows += [row("Oslo", f"What is Oslo {i}?", fails=False) for i in range(WELL_ASKED)]
    rows += [row("Oslo", f"When is Oslo {i}?", fails=False, pre="OTHER") for i in range(WELL_ASKED)]
    assert failing_openings(rows, FACT) == ["Which", "Who", "When"]
    more = [row("Lima", f"Then{i} is Lima?", fails=True) for i in range(MOST_OPENINGS)]
    assert len(failing_openings([*rows, *more], FACT)) == MOST_OPENINGS


@pytest.fixture(scope="module")
def space() -> Space:
    space = make_space(architecture="llama", n_tokens=4, max_len=3, reward="table", seed=0)
    with torch.no_grad():
        for name, parameter in space.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))
    return space


@pytest.mark.parametrize("n_tokens", [1, 2, 3])
def test_draws_are_of_p_q_given_the_opening(space: Space, n_tokens: int) -> None:
    """P_Q(q | opening) by enumeration, with a trained adapter that must not matter.

    A share of 4000 draws has a standard error of at most 0.5 / sqrt(4000) = 0.008.
    """
    fact = FACTS[1]
    with space.policy.lm.frozen():
        log_p, _ = space.log_pf(fact)
    opening = max(zip(log_p.tolist(), space.questions, strict=True))[1][:1]
    first = space.questions[0][0]
    opening = (*opening, *[first] * (n_tokens - 1))
    expected = {
        ids: math.exp(value)
        for ids, value in zip(space.questions, log_p.tolist(), strict=True)
        if ids[:n_tokens] == opening
    }
    total = sum(expected.values())
    rng = torch.Generator().manual_seed(0)
    drawn = questions_after(space.policy, fact, opening, N_DRAWS, rng)
    questions = space.policy.token_rows(drawn.questions)
    counts = Counter(questions)
    for ids, value in zip(questions[:20], drawn.log_p[:20].tolist(), strict=True):
        assert value == pytest.approx(math.log(expected[ids] / total), abs=1e-4)
    assert counts.keys() <= expected.keys()
    for ids, p in expected.items():
        assert counts[ids] / N_DRAWS == pytest.approx(p / total, abs=4 * 0.008)


def test_opened_questions_are_new_and_sound(space: Space) -> None:
    """Every one opens as a failing one does, is sound, and was not asked; openings take turns."""
    fact = FACTS[0]
    a, b, c = _words(space)
    rows = [
        row("Rome", f"{a} {b}?", fails=True),
        row("Rome", f"{b} {b}?", fails=True),
        row("Rome", f"{c} {b}?", fails=False),
        row("Rome", "zebras graze?", fails=True),  # no word of the sampler
    ]
    asked = msgspec.structs.replace(row("Rome", f"{a} {a}?", fails=False), fact_key=fact.key)
    unsound = f"{a} {c}?"
    found = opened_questions(space.policy, [*rows, asked], fact, 0, lambda text: text != unsound)
    possible = {space.policy.question_text(ids) for ids in space.questions}
    assert len(set(found)) == len(found) > 4
    assert set(found) <= possible - {unsound, asked.question}
    assert {opening_of(f"{text[:-1]} ?") for text in found} == {a, b}
    assert {text[0] for text in found[:2]} == {a[0], b[0]}
    assert len(found) <= MOST_OPENED


def _words(space: Space) -> list[str]:
    """Three words of the space; the first is an article, which a comparison leaves out."""
    return [space.policy.lm.decode(ids).strip() for ids in space.questions[1:4]]


def test_the_same_seed_gives_the_same_questions(space: Space) -> None:
    rows = [
        space.policy.texts(
            questions_after(
                space.policy, FACTS[0], space.questions[0], 8, torch.Generator().manual_seed(seed)
            ).questions
        )
        for seed in (1, 1, 2)
    ]
    assert rows[0] == rows[1] != rows[2]
