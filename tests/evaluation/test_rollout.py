"""Sampled and scored questions: whose log P_F they carry."""

from __future__ import annotations

import pytest
import torch

from contraflow.evaluation.rollout import rollout
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import Scorer
from contraflow.policy.lora import fact_index_of, stack_questions
from contraflow.reward.schedule import RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import RecordingJudge, RecordingOracle, arbitrary_log_c, small_policy


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, alpha=8)])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_log_pf_is_that_of_the_sampler_that_wrote(lora: LoraConfig | None, temperature: float):
    policy = small_policy(fresh_lm(), lora=lora)
    scorer = Scorer(policy, RecordingOracle(), RecordingJudge(arbitrary_log_c))
    reward = RewardSchedule(kind="static")
    options = {"n_samples": 4, "step": 0, "seed": 7, "temperature": temperature}
    records = list(rollout(policy, scorer, reward, FACTS, **options))
    rng = torch_rng(7, "rollout", FACTS[0].fact_id, len(FACTS))
    again = sample_questions(policy, FACTS, 4, rng, temperature)
    assert [r.question for r in records] == [q.text for q in again]
    index = fact_index_of(FACTS, [q.fact.fact_id for q in again], "cpu")
    questions = stack_questions([q.ids for q in again], torch.device("cpu"))
    with torch.no_grad():
        expected = policy.evaluate(FACTS, index, questions, temperature).log_p_question
        plain = policy.evaluate(FACTS, index, questions).log_p_question
    found = torch.tensor([r.log_pf for r in records])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.allclose(found, plain, atol=1e-3) == (temperature == 1.0)
