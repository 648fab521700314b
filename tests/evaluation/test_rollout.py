"""Sampled and scored questions: whose log P_F they carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.evaluation.rollout import rollout
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import fact_index_of, stack_questions
from contraflow.reward.schedule import RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig
from contraflow.text.tokens import normalize
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
    index = fact_index_of(FACTS, [q.fact.key for q in again], "cpu")
    questions = stack_questions([q.ids for q in again], torch.device("cpu"))
    with torch.no_grad():
        expected = policy.evaluate(FACTS, index, questions, temperature).log_p_question
        plain = policy.evaluate(FACTS, index, questions).log_p_question
    found = torch.tensor([r.log_pf for r in records])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.allclose(found, plain, atol=1e-3) == (temperature == 1.0)


def distinct_records(n: int, facts: Sequence[Fact] = FACTS, **options: Any) -> list[QuestionRecord]:
    policy = small_policy(fresh_lm(), n_tokens=14)
    scorer = Scorer(policy, RecordingOracle(), RecordingJudge(arbitrary_log_c))
    reward = RewardSchedule(kind="static")
    options = {"step": 0, "seed": 7, "distinct": True} | options
    return list(rollout(policy, scorer, reward, facts, n_samples=n, **options))


def test_distinct_questions_differ_in_more_than_spelling():
    """The vocabulary has a colon and an article, which do not make another question."""
    records = distinct_records(100)
    for fact in FACTS:
        texts = [normalize(r.question) for r in records if r.fact_id == fact.fact_id]
        assert len(set(texts)) == len(texts) == 100
    plain = distinct_records(100, distinct=False)
    assert len({normalize(r.question) for r in plain[:100]}) < 100


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_distinct_records_carry_their_probabilities(temperature: float):
    policy = small_policy(fresh_lm(), n_tokens=14)
    records = distinct_records(6, temperature=temperature)
    assert [r.fact_id for r in records] == ["a"] * 6 + ["b"] * 6
    rows = [tuple(policy.lm.encode(r.question.rstrip("?"))) for r in records]
    index = torch.tensor([0] * 6 + [1] * 6)
    with torch.no_grad():
        paths = policy.evaluate(FACTS, index, stack_questions(rows, "cpu"), temperature)
    found = torch.tensor([r.log_pf for r in records])
    torch.testing.assert_close(found, paths.log_p_question, atol=1e-4, rtol=1e-4)
    inclusions = [r.log_inclusion for r in records]
    assert all(x is not None and r.log_pf < x < 0 for r, x in zip(records, inclusions, strict=True))


def test_more_distinct_questions_begin_with_the_same_ones():
    """Also where the facts are split into other batches: 40 questions, one fact a batch."""
    few, many = distinct_records(3), distinct_records(40)
    for fact in ("a", "b"):
        short = [r.question for r in few if r.fact_id == fact]
        assert short == [r.question for r in many if r.fact_id == fact][:3]


def test_frozen_questions_are_those_of_the_prior():
    """Drawn with the adapter off, whatever it has learned; its own questions are others."""
    own: dict[bool, list[QuestionRecord]] = {}
    for is_trained in (False, True):
        policy = small_policy(fresh_lm(), n_tokens=14, lora=LoraConfig(r=4, alpha=8))
        if is_trained:
            for name, parameter in policy.lm.model.named_parameters():
                if "lora_B" in name:
                    generator = torch.Generator().manual_seed(3)
                    torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
        scorer = Scorer(policy, RecordingOracle(), RecordingJudge(arbitrary_log_c))
        options = {"n_samples": 5, "step": 0, "seed": 7, "distinct": True}
        reward = RewardSchedule(kind="static")
        frozen = list(rollout(policy, scorer, reward, FACTS, frozen=True, **options))
        assert [r.log_pf for r in frozen] == pytest.approx(
            [r.log_p_question for r in frozen], abs=1e-4
        )
        own[is_trained] = frozen
        others = list(rollout(policy, scorer, reward, FACTS, **options))
        assert ([r.question for r in others] != [r.question for r in frozen]) == is_trained
    assert [r.question for r in own[True]] == [r.question for r in own[False]]


def test_records_keep_inclusion_probabilities_in_a_file(tmp_path: Path):
    records = distinct_records(4)
    write_records(tmp_path / "q.jsonl", records)
    assert read_records(tmp_path / "q.jsonl") == records
    plain = distinct_records(2, distinct=False)
    assert [r.log_inclusion for r in plain] == [None] * 4
    write_records(tmp_path / "plain.jsonl", plain)
    assert read_records(tmp_path / "plain.jsonl") == plain
