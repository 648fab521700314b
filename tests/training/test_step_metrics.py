"""The metrics of a step from a batch that is written by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import torch

from contraflow.experience.collect import Batch
from contraflow.facts import Fact
from contraflow.gflownet.objectives import potentials
from contraflow.seeding import torch_rng
from contraflow.training.step_metrics import StepNumbers, step_metrics
from contraflow.types import PathLogProbs, ScoredQuestion, TerminalReward
from support.facts import FACTS


def scored(fact: int, ids: tuple[int, ...], log_c: float, *, ok: bool = True, step: int = 0):
    return ScoredQuestion(
        fact_id=FACTS[fact].fact_id,
        fact_hash=FACTS[fact].content_hash,
        question_ids=ids,
        question=" ".join(map(str, ids)),
        answer="it",
        log_contradiction=log_c,
        log_p_answer=2 * log_c,
        log_entailment=3 * log_c,
        log_prior=(log_c, log_c),
        question_ok=ok,
        step=step,
    )


ROWS = (
    scored(0, (3, 4), -1.0),
    scored(0, (5,), -2.0, ok=False),
    scored(1, (3,), -4.0),
)


def batch_of(counts: tuple[int, ...], n_replayed: int = 0) -> Batch:
    return Batch(tuple(FACTS), ROWS, counts, 1.25, n_replayed, "cpu")


def numbers_of(log_reward: list[float], log_pf: list[float]) -> StepNumbers:
    log_r, log_p = np.array(log_reward), np.array(log_pf)
    return StepNumbers(7.0, log_r, log_p, log_r - log_p, np.array([0.5, 0.5, -1.0]))


def metrics(counts: tuple[int, ...], **options: bool) -> dict[str, float]:
    numbers = numbers_of([-1.0, -3.0, -2.0], [-2.0, -2.0, -2.0])
    return step_metrics(batch_of(counts), numbers, 9, torch_rng("m"), uses_flow=True, **options)


def test_means_are_over_draws() -> None:
    """The first question was sampled twice: means of (-1, -1, -2, -4) and so on, by hand."""
    found = metrics((2, 1, 1))
    assert found["log_contradiction"] == pytest.approx(-8 / 4)
    assert found["log_p_answer"] == pytest.approx(-16 / 4)
    assert found["log_entailment"] == pytest.approx(-24 / 4)
    assert found["log_p_question"] == pytest.approx(-16 / 4)
    assert found["log_reward"] == pytest.approx((-1 - 1 - 3 - 2) / 4)
    assert found["question_ok"] == pytest.approx(3 / 4)
    assert found["question_tokens"] == pytest.approx((2 + 2 + 1 + 1) / 4)
    assert found["distinct"] == pytest.approx(3 / 4)
    assert (found["loss"], found["log_pf"], found["pf_temp"]) == (7.0, -2.0, 1.25)


def test_log_z_is_compared_fact_by_fact() -> None:
    """log w is 1, 1, -1 for fact 0 and 0 for fact 1; the heads say 0.5 and -1.

    Within fact 0 the mean of log w is 1/3, and its squared deviations add up to 8/3.
    """
    found = metrics((2, 1, 1))
    log_z = math.log((2 * math.e + 1 / math.e) / 3)
    assert found["log_z"] == pytest.approx((3 * 0.5 - 1.0) / 4)
    assert found["log_z_gap"] == pytest.approx((abs(log_z - 0.5) + abs(0 + 1.0)) / 2)
    assert found["var_log_ratio"] == pytest.approx(8 / 3 / 4)
    assert found["elbo"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["log_z_mc"] == pytest.approx((log_z + 0) / 2)


def test_success_is_over_facts_whose_answer_is_known() -> None:
    """Of fact 0 one of three draws succeeds; fact 1 has no original answer, so it cannot fail."""
    edit = "Hamlet was written by Christopher Marlowe."
    known = Fact(
        fact_id="known", subject="Hamlet", edit_fact=edit, original_answer="William Shakespeare"
    )
    unknown = msgspec.structs.replace(known, fact_id="unknown", original_answer="")
    rows = tuple(
        msgspec.structs.replace(
            ROWS[0],
            fact_id=fact.fact_id,
            fact_hash=fact.content_hash,
            question=question,
            answer="William Shakespeare",
        )
        for fact, question in (
            (known, "Who wrote Hamlet?"),
            (known, "Who wrote it?"),
            (unknown, "Who wrote Hamlet?"),
        )
    )
    numbers = numbers_of([-1.0, -3.0, -2.0], [-2.0, -2.0, -2.0])
    batch = Batch((known, unknown), rows, (1, 2, 1), 1.0, 0, "cpu")
    found = step_metrics(batch, numbers, 0, torch_rng("m"), uses_flow=False)
    assert found["strict_success"] == pytest.approx(1 / 3)
    none = Batch((unknown,), rows[2:], (1,), 1.0, 0, "cpu")
    numbers = StepNumbers(7.0, *(np.zeros(1) for _ in range(4)))
    found = step_metrics(none, numbers, 0, torch_rng("m"), uses_flow=False)
    assert "strict_success" not in found


def test_what_is_undefined_is_left_out() -> None:
    """Both facts have constant log P_F, and fact 1 has one question."""
    found = metrics((1, 1, 1))
    assert "rank_correlation" not in found and "staleness" not in found
    assert all(math.isfinite(value) for value in found.values())
    numbers = numbers_of([-1.0, -3.0, -2.0], [-2.0, -1.0, -2.0])
    batch = batch_of((1, 1, 1), n_replayed=3)
    found = step_metrics(batch, numbers, 9, torch_rng("m"), uses_flow=False)
    assert "log_z" not in found and "log_z_gap" not in found
    assert found["staleness"] == 9.0 and found["replay_share"] == 1.0
    assert found["rank_correlation"] == pytest.approx(-1.0)


def test_the_five_are_moved_as_they_are() -> None:
    """u_{L+1} is log R less log P_F of the question, and log Z the flow at the root."""
    paths = PathLogProbs(
        log_pf=torch.tensor([[-1.0, -2.0], [-0.5, 0.0]]),
        log_pterm=torch.tensor([[-9.0, -8.0, -0.25], [-7.0, -0.75, 0.0]]),
        log_flow=torch.tensor([[1.5, 0.0, 0.0], [-2.5, 0.0, 0.0]]),
        lengths=torch.tensor([2, 1]),
    )
    reward = TerminalReward(torch.tensor([-4.0, -6.0]))
    numbers = StepNumbers.of(torch.tensor(3.5), reward, paths, potentials(paths, reward))
    assert numbers.loss == 3.5
    assert numbers.log_reward.tolist() == [-4.0, -6.0]
    assert numbers.log_pf.tolist() == [-3.25, -1.25]
    assert numbers.log_ratio.tolist() == [-0.75, -4.75]
    assert numbers.log_z.tolist() == [1.5, -2.5]
