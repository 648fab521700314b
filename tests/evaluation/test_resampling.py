"""Questions kept in proportion to their reward, against enumeration."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.resampling import Candidates, in_proportion
from support.draws import draw_distinct
from support.records import record

REWARD = np.array([8.0, 4.0, 2.0, 1.0, 1.0])
TARGET = REWARD / REWARD.sum()


def candidate(row: int, log_inclusion: float = 0.0) -> QuestionRecord:
    log_reward = float(np.log(REWARD[row]))
    return record("f", f"Who is {row}?", log_reward=log_reward, log_inclusion=log_inclusion)


def row_of(kept: QuestionRecord) -> int:
    return int(kept.question.removesuffix("?").split()[-1])


def test_all_questions_give_the_targets_own_draws() -> None:
    """P(i, then j) = p_i · p_j / (1 − p_i) for each of the 20 ordered pairs."""
    candidates = Candidates.of([candidate(row) for row in range(5)])
    rng = np.random.default_rng(0)
    n = 20_000
    seen = Counter(tuple(map(row_of, candidates.kept(2, rng))) for _ in range(n))
    for i, j in permutations(range(5), 2):
        assert seen[i, j] / n == pytest.approx(TARGET[i] * TARGET[j] / (1 - TARGET[i]), abs=0.01)


@pytest.mark.parametrize(("n_candidates", "share"), [(3, 1 / 2), (4, 1 / 6)])
def test_more_candidates_come_nearer_to_the_target(n_candidates: int, share: float) -> None:
    """A sampler is far away, TV 0.45 + 0.2 + 0.025; 3 or 4 of 5 questions leave a share of it."""
    log_q = np.log(np.array([0.05, 0.05, 0.1, 0.2, 0.6]))
    rng = np.random.default_rng(1)
    counts = np.zeros(5)
    for _ in range(4_000):
        draw = draw_distinct(log_q, n_candidates, rng)
        rows = np.flatnonzero(draw.drawn)
        included = np.log(-np.expm1(-np.exp(log_q[rows] - draw.log_threshold)))
        drawn = [candidate(int(r), float(pi)) for r, pi in zip(rows, included, strict=True)]
        counts[row_of(Candidates.of(drawn).kept(1, rng)[0])] += 1
    assert np.abs(counts / counts.sum() - TARGET).sum() / 2 < share * 0.675


def test_plain_draws_of_one_question_add_up() -> None:
    """R / P_F = 2 for each draw: twice "A?" and once "B?" weigh 4 and 2."""
    drawn = [record("f", text, log_reward=0.0, log_pf=math.log(0.5)) for text in ("A?", "a", "B?")]
    candidates = Candidates.of(drawn)
    assert np.exp(candidates.log_weight) == pytest.approx([4.0, 2.0])
    assert candidates.worth == pytest.approx(36 / 20)


def test_a_question_without_reward_is_never_kept() -> None:
    drawn = [
        record("f", "A?", log_reward=-math.inf),
        record("f", "B?", log_reward=math.nan),
        record("f", "C?", log_reward=-3.0),
    ]
    rng = np.random.default_rng(0)
    assert [kept.question for kept in Candidates.of(drawn).kept(3, rng)] == ["C?"]
    nothing = Candidates.of(drawn[:2])
    assert nothing.kept(2, rng) == [] and nothing.worth == 0.0


def test_what_is_kept_of_a_fact_depends_on_no_other_fact() -> None:
    one = [candidate(row) for row in range(5)]
    other = [record("g", f"What is {row}?", log_reward=-row) for row in range(5)]
    alone = [kept for _, kept in in_proportion(one, 2, seed=3)]
    together = [kept for _, kept in in_proportion([*other, *one], 2, seed=3)]
    assert len(together) == 2 and together[1] == alone[0]
    assert any(kept != alone[0] for s in range(9) for _, kept in in_proportion(one, 2, seed=s))
