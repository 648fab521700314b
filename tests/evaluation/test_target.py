"""What an exact sampler would have, against enumeration of the whole space of a fact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.target import MOST, WeightedFact
from contraflow.evaluation.target_report import (
    FEW,
    estimate_target,
    read_target,
    target_lines,
    write_target,
)
from support.draws import draw_distinct, log_softmax
from support.records import record

N = 8  # draws of the exact sampler


@dataclass(frozen=True)
class Space:
    """All questions of a fact, with prior, reward and validity."""

    log_prior: Float[np.ndarray, " s"]
    log_reward: Float[np.ndarray, " s"]
    valid: Bool[np.ndarray, " s"]

    @property
    def p(self) -> Float[np.ndarray, " s"]:
        return np.exp(log_softmax(self.log_reward))

    @property
    def success(self) -> float:
        return float(self.p @ self.valid)

    def different(self, *, valid: bool) -> float:
        """Σ_q P(q is among N draws), over N, by the definition."""
        among = 1 - (1 - self.p) ** N
        return float(among[self.valid].sum() if valid else among.sum()) / N

    def drawn(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, Float[np.ndarray, " n"]]:
        """The questions of a sample without replacement, and log pi of each."""
        draw = draw_distinct(self.log_prior, n, rng)
        rows = np.flatnonzero(draw.drawn)
        included = -np.expm1(-np.exp(self.log_prior[rows] - draw.log_threshold))
        return rows, np.log(included)

    def weighed(self, n: int, rng: np.random.Generator) -> WeightedFact:
        rows, log_included = self.drawn(n, rng)
        valid = self.valid[rows]
        return WeightedFact.weighed(self.log_reward[rows], log_included, rows, valid, valid)


def space_of(seed: int, size: int = 300, shift: float = 1.0) -> Space:
    """A prior with a few likely questions; the reward is the prior, moved and flattened."""
    rng = np.random.default_rng(seed)
    log_prior = log_softmax(rng.normal(0, 2, size))
    log_reward = 0.8 * log_prior + rng.normal(0, shift, size)
    return Space(log_prior, log_reward, rng.random(size) < 0.6)


@pytest.mark.parametrize("low", [-100.0, -800.0])
def test_a_reward_that_underflows_adds_no_question(low: float) -> None:
    """Beside 4 equal questions, all drawn surely: 1 − (3/4)^8 of each are among 8 draws."""
    log_reward = np.array([0.0, 0.0, 0.0, 0.0, low])
    yes = np.ones(5, dtype=bool)
    fact = WeightedFact.weighed(log_reward, np.zeros(5), np.arange(5), yes, yes)
    expected = 4 * (1 - 0.75**N) / N
    assert fact.different(N) == pytest.approx(expected)
    assert fact.different(N, fact.valid) == pytest.approx(expected)


@pytest.mark.parametrize("nothing", [-np.inf, np.nan])  # NaN: as files keep it
def test_a_reward_of_0_takes_no_part(nothing: float) -> None:
    rng = np.random.default_rng(0)
    space = space_of(0)
    rows, log_included = space.drawn(40, rng)
    log_reward = space.log_reward[rows]
    text, yes = np.arange(40), np.ones(40, dtype=bool)
    without = WeightedFact.weighed(log_reward, log_included, text, yes, yes)
    more = WeightedFact.weighed(
        np.append(log_reward, nothing),
        np.append(log_included, -1.0),
        np.arange(41),
        np.ones(41, dtype=bool),
        np.append(yes, False),
    )
    assert more.size == pytest.approx(without.size)
    assert more.different(N) == pytest.approx(without.different(N))
    assert more.mean(more.valid) == pytest.approx(1.0)


@pytest.mark.parametrize("nothing", [-np.inf, np.nan])
def test_a_fact_whose_rewards_are_all_0_has_no_target(nothing: float) -> None:
    yes = np.ones(5, dtype=bool)
    fact = WeightedFact.weighed(np.full(5, nothing), np.full(5, -1.0), np.arange(5), yes, yes)
    assert (fact.size, fact.mean(yes), fact.different(N)) == (0, 0, 0)


def test_a_whole_space_gives_the_exact_numbers() -> None:
    """Four questions, three draws: different ones by enumeration of the 64 ordered samples."""
    space = space_of(0, size=4)
    fact = space.weighed(4, np.random.default_rng(0))
    different = valid = 0.0
    for draws in product(range(4), repeat=3):
        probability = math.prod(space.p[i] for i in draws)
        different += probability * len(set(draws)) / 3
        valid += probability * len({i for i in draws if space.valid[i]}) / 3
    assert fact.size == MOST
    assert fact.mean(fact.strict) == pytest.approx(space.success)
    assert fact.different(3) == pytest.approx(different)
    assert fact.different(3, fact.valid) == pytest.approx(valid)


@pytest.mark.parametrize("seed", [1, 2])
def test_estimates_are_unbiased(seed: int) -> None:
    """Over 400 samples of 60 of 300 questions, to 4 standard errors and the bias of Z's error."""
    space = space_of(seed)
    rng = np.random.default_rng(seed)
    facts = [space.weighed(60, rng) for _ in range(400)]
    exact = (space.success, space.different(valid=False), space.different(valid=True))
    found = np.array([(f.mean(f.strict), f.different(N), f.different(N, f.valid)) for f in facts])
    error = found.std(0) / math.sqrt(len(facts))
    assert np.all(np.abs(found.mean(0) - exact) < 4 * error + 0.01), (found.mean(0), exact)


def test_counting_the_drawn_questions_only_would_be_biased() -> None:
    """The remedy of `different` matters: questions that were not drawn are different ones."""
    space = space_of(3)
    rng = np.random.default_rng(3)
    facts = [space.weighed(25, rng) for _ in range(200)]
    plain = [float(np.sum(1 - (1 - f.weight) ** N)) / N for f in facts]
    ours = [f.different(N) for f in facts]
    exact = space.different(valid=False)
    assert abs(np.mean(ours) - exact) < 0.02
    assert np.mean(plain) < exact - 0.05


def test_simulated_draws_have_as_many_different_ones() -> None:
    space = space_of(4)
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(60):
        fact = space.weighed(60, rng)
        shares += [len(set(fact.draws(N, rng).tolist())) / N for _ in range(20)]
    assert np.mean(shares) == pytest.approx(space.different(valid=False), abs=0.02)


def test_spellings_of_a_text_are_one_question() -> None:
    """Two spellings of 0.25 each and another text of 0.5: 2 of 2 draws differ with 1/2."""
    text = np.array([0, 0, 1])
    flags = np.array([True, True, True])
    log_reward = np.log([0.25, 0.25, 0.5])
    fact = WeightedFact.weighed(log_reward, np.zeros(3), text, flags, flags)
    assert fact.different(2) == pytest.approx((0.5 * 1 + 0.5 * 2) / 2)


def test_draws_with_replacement_are_refused() -> None:
    with pytest.raises(ValueError, match="without replacement"):
        WeightedFact.of([record()])


WORDS = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmno"]


def records_of(space: Space, n: int, rng: np.random.Generator, fact: str) -> list[QuestionRecord]:
    """Drawn questions as records; an invalid one leaks the answer."""
    rows, log_included = space.drawn(n, rng)
    return [
        record(
            fact,
            f"Who wrote Hamlet {WORDS[row]}?" if space.valid[row] else f"Did William {WORDS[row]}?",
            log_reward=float(space.log_reward[row]),
            log_inclusion=float(included),
        )
        for row, included in zip(rows, log_included, strict=True)
    ]


def embed(texts: list[str]) -> Tensor:
    """Orthogonal vectors for different texts: the Vendi score is the number of valid texts."""
    rows = [WORDS.index(text.removesuffix("?").split()[-1]) for text in texts]
    return torch.eye(len(WORDS), dtype=torch.float64)[rows]


def test_the_interval_over_facts_holds_the_exact_mean() -> None:
    """Twelve facts of 300 questions, 120 drawn of each; 95 % intervals, six times."""
    inside = {"strict_success": 0, "distinct_questions": 0, "distinct_valid": 0}
    for trial in range(6):
        rng = np.random.default_rng(trial)
        spaces = [space_of(100 * trial + i) for i in range(12)]
        drawn = [r for i, s in enumerate(spaces) for r in records_of(s, 120, rng, f"f{i}")]
        found = estimate_target(drawn, {}, N, seed=trial)
        exact = {
            "strict_success": np.mean([s.success for s in spaces]),
            "distinct_questions": np.mean([s.different(valid=False) for s in spaces]),
            "distinct_valid": np.mean([s.different(valid=True) for s in spaces]),
        }
        assert (found.n_facts, found.n_tried, found.n_samples) == (12, 12, 120)
        for name, value in exact.items():
            metric = found.metrics[name]
            assert metric.low is not None and metric.high is not None
            inside[name] += metric.low <= value <= metric.high
    assert min(inside.values()) >= 5, inside


def test_vendi_is_that_of_simulated_draws() -> None:
    """With orthogonal vectors: exp of the entropy of the valid texts' counts, by simulation."""
    spaces = [space_of(i) for i in range(6)]
    rng = np.random.default_rng(0)
    drawn = [r for i, s in enumerate(spaces) for r in records_of(s, 100, rng, f"f{i}")]
    scores = []
    for space in spaces:
        for _ in range(200):
            rows = rng.choice(300, N, p=space.p)
            counts = np.unique(rows[space.valid[rows]], return_counts=True)[1]
            if len(counts):
                share = counts / counts.sum()
                scores.append(math.exp(-float(share @ np.log(share))))
    found = estimate_target(drawn, {}, N, seed=0, embed=embed).metrics["vendi"]
    assert found.value == pytest.approx(np.mean(scores), rel=0.08)


def test_facts_whose_weights_do_not_suffice_are_left_out(tmp_path: Path) -> None:
    """A reward that few of the prior's questions have: some facts are left out, and it says so."""
    rng = np.random.default_rng(0)
    easy, hard = space_of(0), space_of(1, shift=6.0)
    drawn = [*records_of(easy, 60, rng, "easy"), *records_of(hard, 12, rng, "hard")]
    trained = [record("easy"), record("easy", answer="Marlowe"), record("hard", answer="Marlowe")]
    found = estimate_target(drawn, {"after": trained}, N, seed=0)
    assert (found.n_facts, found.n_tried, found.note) == (1, 2, FEW)
    assert found.sizes[0] >= 20 > found.sizes[1]
    strict = found.metrics["strict_success"]
    assert (strict.low, strict.samplers) == (None, {"after": 0.5}), "on the same facts"

    write_target(tmp_path / "target.json", found)
    assert read_target(tmp_path / "target.json") == found
    lines = target_lines(found, {"before": "untrained", "after": "trained"})
    assert "1 of 2 facts" in lines[0] and lines[0].endswith("| trained |")
    assert lines[-1] == FEW
