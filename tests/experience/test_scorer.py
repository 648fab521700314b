"""New questions are scored once each, in order."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import msgspec
import pytest
import torch

from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.lora import LoraPolicy, stack_questions
from support.facts import FACTS
from support.tables import RecordingJudge, RecordingOracle, arbitrary_log_c, small_policy


def sampled(policy: LoraPolicy, fact: int, *ids: int) -> SampledQuestion:
    return SampledQuestion(FACTS[fact], ids, policy.question_text(ids))


@pytest.fixture
def policy(tiny_lm: CausalLM) -> LoraPolicy:
    policy = small_policy(tiny_lm)
    with torch.no_grad():
        for p in tiny_lm.model.parameters():
            if p.requires_grad:
                p.add_(0.2)
    return policy


def scorer_of(policy: LoraPolicy, **options: int) -> Scorer:
    return Scorer(policy, RecordingOracle(), RecordingJudge(arbitrary_log_c), **options)


def test_parts_belong_to_their_question_and_fact(policy: LoraPolicy):
    """Facts interleaved and one question about both: order, fact and premise must not shift."""
    questions = [
        sampled(policy, 1, 3, 4),
        sampled(policy, 0, 3, 4),
        sampled(policy, 1, 5),
        sampled(policy, 0, 4, 4, 5),
    ]
    scored = scorer_of(policy).score(questions, step=3)
    for d, s in zip(questions, scored, strict=True):
        assert (s.fact_id, s.question_ids, s.question, s.answer) == (
            d.fact.fact_id,
            d.ids,
            d.text,
            d.text,
        )
        assert s.log_contradiction == pytest.approx(
            arbitrary_log_c(d.fact.edit_fact, d.text), abs=1e-6
        )
        assert s.log_p_answer == -float(len(d.text))
        assert s.step == 3


def test_entailment_is_judged_against_the_original_fact_if_any(
    policy: LoraPolicy,
):
    """Fact 0 gets an original fact, fact 1 has none; interleaved, so that a shift would show."""
    with_original = msgspec.structs.replace(FACTS[0], original_fact="hamlet was written by who")
    scorer = scorer_of(policy)
    questions = [
        sampled(policy, 1, 3),
        SampledQuestion(with_original, (4,), "who?"),
        sampled(policy, 1, 5),
        SampledQuestion(with_original, (5,), "rome?"),
    ]
    scored = scorer.score(questions, step=0)

    def rest(text: str) -> float:
        log_c = arbitrary_log_c(with_original.original_fact, text)
        return math.log((1 - math.exp(log_c)) / 2)

    assert [s.log_entailment for s in scored] == pytest.approx(
        [0.0, rest("who?"), 0.0, rest("rome?")], abs=1e-6
    )
    premises = [premise for premise, _ in cast(RecordingJudge, scorer.judge).pairs]
    assert premises.count(with_original.original_fact) == 2 and "" not in premises


def test_log_prior_is_the_frozen_model_per_token_and_stop(policy: LoraPolicy):
    questions = [sampled(policy, 0, 3), sampled(policy, 1, 3, 4, 5), sampled(policy, 0, 5, 5)]
    for d, s in zip(questions, scorer_of(policy).score(questions, step=0), strict=True):
        questions = stack_questions([d.ids], torch.device("cpu"))
        alone = policy.prior([d.fact], torch.tensor([0]), questions)
        with_adapter = policy.evaluate([d.fact], torch.tensor([0]), questions)
        expected = [*alone.log_pf[0].tolist(), float(alone.log_p_stop)]
        assert list(s.log_prior) == pytest.approx(expected, abs=1e-5)
        assert s.log_p_question == pytest.approx(float(alone.log_p_question), abs=1e-5)
        assert abs(s.log_p_question - float(with_adapter.log_p_question)) > 1e-3


def test_equal_questions_of_a_fact_are_scored_once(policy: LoraPolicy):
    scorer = scorer_of(policy)
    first = scorer.score(
        [sampled(policy, 0, 3), sampled(policy, 0, 3), sampled(policy, 1, 3)], step=0
    )
    assert first[0] == first[1] and first[0].fact_id != first[2].fact_id
    again = scorer.score([sampled(policy, 0, 3), sampled(policy, 0, 4)], step=9)
    assert again[0] == msgspec.structs.replace(first[0], step=9)
    judge = scorer.judge
    assert isinstance(judge, RecordingJudge) and len(judge.pairs) == 3


def test_a_corrected_fact_is_scored_anew(policy: LoraPolicy):
    """Fact a is corrected: one more accepted answer, and another original fact.

    A cache by fact_id would keep the old verdict and log E.
    """
    scorer = scorer_of(policy)
    old = SampledQuestion(FACTS[0], (3,), "what is the city of hamlet?")
    corrected = msgspec.structs.replace(FACTS[0], aliases=("city",), original_fact="who is it")
    before, after, again = scorer.score(
        [old, dataclasses.replace(old, fact=corrected), old], step=0
    )
    assert before.fact_id == after.fact_id == "a" and before.fact_key != after.fact_key
    assert (before.question_ok, after.question_ok) == (True, False)
    assert (before.log_entailment == 0, after.log_entailment == 0) == (True, False)
    assert again == before
    assert (before.fact_key, after.fact_key) == (FACTS[0].key, corrected.key)


def test_the_recorded_step_does_not_depend_on_the_cache(policy: LoraPolicy):
    """A scorer that has cached the question since step 0 records what a new one records."""
    old, young = scorer_of(policy), scorer_of(policy)
    first = old.score([sampled(policy, 0, 3)], step=0)
    questions = [sampled(policy, 0, 3), sampled(policy, 0, 4)]
    assert (
        [s.step for s in old.score(questions, step=9)]
        == [s.step for s in young.score(questions, step=9)]
        == [9, 9]
    )
    assert first[0].step == 0


def test_preloaded_questions_are_not_scored_again(policy: LoraPolicy):
    """Scored in another batch, a stored question may round better and would replace itself.

    The stored numbers are far off here, so that scoring again would show. Entries of other samplers
    and of people are not preloaded.
    """
    scorer = scorer_of(policy)
    judge = scorer.judge
    assert isinstance(judge, RecordingJudge)
    stored = scorer_of(policy).score([sampled(policy, 0, 3)], step=2)[0]
    odd = msgspec.structs.replace(stored, log_contradiction=-7.0)
    planted = msgspec.structs.replace(odd, question_ids=(4,), sampler="seeded")
    scorer.preload([odd, planted])
    found = scorer.score([sampled(policy, 0, 3), sampled(policy, 0, 4)], step=5)
    assert found[0] == msgspec.structs.replace(odd, step=5)
    assert found[1].log_contradiction != -7.0 and found[1].sampler == scorer.sampler
    assert len(judge.pairs) == 1


def test_the_cache_forgets_the_oldest(policy: LoraPolicy):
    scorer = scorer_of(policy, cache_size=2)
    questions = [sampled(policy, 0, i) for i in (3, 4, 5)]
    assert [s.question_ids for s in scorer.score(questions, step=0)] == [(3,), (4,), (5,)]
    judge = scorer.judge
    assert isinstance(judge, RecordingJudge)
    judge.pairs.clear()
    scorer.score(questions[1:], step=1)
    assert judge.pairs == []
    scorer.score(questions[:1], step=1)
    assert len(judge.pairs) == 1


def test_text_checks_see_the_fact(policy: LoraPolicy):
    """Fact a is about hamlet; its answers "who" and "rome" may not be in a question."""
    texts = ["who wrote hamlet?", "what is the capital of hamlet?", "what is rome in hamlet?"]
    questions = [
        SampledQuestion(FACTS[0], (i,), text) for i, text in zip((3, 4, 5), texts, strict=True)
    ]
    assert [s.question_ok for s in scorer_of(policy).score(questions, step=0)] == [
        False,
        True,
        False,
    ]


def test_nothing_to_score_is_nothing(policy: LoraPolicy):
    assert scorer_of(policy).score([], step=0) == []
