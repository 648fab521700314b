"""New and replayed batches have the same form and are a function of (seed, step, rank)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import get_args

import msgspec
import pytest
import torch
from transformers import AutoTokenizer

from contraflow.errors import UserError
from contraflow.experience.collect import Batch, Experience, sample_questions
from contraflow.models.weights.packaged import packaged_folder
from contraflow.policy.constraints import Vocabulary, question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.models import LoraConfig
from contraflow.settings.running import ReplayConfig
from contraflow.text.prompts import task_prompt
from contraflow.types import ScoredQuestion
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import PROMPT, small_experience, small_policy


@pytest.fixture
def policy() -> LoraPolicy:
    return small_policy(fresh_lm())


FACT = {fact.fact_id: fact for fact in FACTS}


def question(fact_id: str, ids: tuple[int, ...], log_c: float = -1.0) -> ScoredQuestion:
    return ScoredQuestion(
        fact_id=fact_id,
        fact_hash=FACT[fact_id].content_hash,
        question_ids=ids,
        question=" ".join(map(str, ids)) + "?",
        answer="x",
        log_contradiction=log_c,
        log_p_answer=-1.0,
        log_prior=(-1.0,) * (len(ids) + 1),
    )


def replaying(policy: LoraPolicy, n: int = 4, **options) -> Experience:
    settings = ExplorationConfig(n_samples=n, use_buffer_prob=1.0, pf_temp_prob=0.0)
    return small_experience(policy, settings=settings, **options)


def rows_of(batch: Batch) -> list[tuple[int, ...]]:
    ids, lengths = batch.questions.ids.tolist(), batch.questions.lengths.tolist()
    return [tuple(row[:n]) for row, n in zip(ids, lengths, strict=True)]


def test_a_fresh_batch_holds_n_questions_of_each_fact_in_order(policy: LoraPolicy):
    batch = small_experience(policy).collect(FACTS, 0)
    assert batch.fact_index.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [s.fact_id for s in batch.scored] == ["a"] * 4 + ["b"] * 4
    assert [s.question_ids for s in batch.scored] == rows_of(batch)
    assert (batch.n_replayed, batch.pf_temp, batch.facts) == (0, 1.0, tuple(FACTS))


def test_texts_are_those_of_the_ids(policy: LoraPolicy):
    for d in sample_questions(policy, FACTS, 5, torch_rng("x")):
        assert d.text == policy.question_text(d.ids)


def test_the_same_seed_step_and_rank_give_the_same_batch(policy: LoraPolicy):
    def at(step: int, **options: int) -> list[tuple[int, ...]]:
        return rows_of(small_experience(policy, **options).collect(FACTS, step))

    assert at(3) == at(3)
    others = [at(4), at(3, seed=1), at(3, rank=1)]
    assert all(other != at(3) for other in others)


@pytest.mark.defect(5)
def test_global_generators_are_left_alone(policy: LoraPolicy):
    """In the old design sampling from replay reseeded the whole run."""
    experience = replaying(policy)
    experience.replay.add([question("a", (3, i)) for i in (3, 4, 5, 3)], [0.0] * 4)
    before = torch.random.get_rng_state(), random.getstate()
    for step in range(4):
        experience.collect(FACTS, step)
    assert torch.equal(before[0], torch.random.get_rng_state()) and before[1] == random.getstate()


def test_repeated_questions_enter_replay_once():
    """24 samples of 2 one-token questions per fact: at most 2 entries per fact.

    Each is offered once per batch.
    """
    narrow = small_policy(fresh_lm(), n_tokens=2, max_len=1)
    settings = ExplorationConfig(n_samples=24, use_buffer_prob=0.0, pf_temp_prob=0.0)
    experience = small_experience(narrow, settings=settings)
    batch = experience.collect(FACTS, 0)
    assert len(batch.scored) == 48
    assert experience.replay.size() == experience.replay.stats()["offered"] == 4


def test_where_repeats_count_once_a_batch_has_counts():
    """The same 48 samples of 2 one-token questions per fact, with and without repeats."""
    narrow = small_policy(fresh_lm(), n_tokens=2, max_len=1)
    settings = ExplorationConfig(n_samples=24, use_buffer_prob=0.0, pf_temp_prob=0.0)
    counted = small_experience(narrow, settings=settings).collect(FACTS, 0)
    once = small_experience(narrow, settings=replace(settings, count_repeats=False)).collect(
        FACTS, 0
    )
    counts = Counter((s.fact_id, s.question_ids) for s in counted.scored)
    assert max(counts.values()) > 1
    assert {
        (s.fact_id, s.question_ids): n for s, n in zip(once.scored, once.counts, strict=True)
    } == counts
    assert rows_of(once) == [s.question_ids for s in once.scored] and len(once.scored) == len(
        counts
    )
    assert counted.draws.tolist() == list(range(48))
    assert (
        Counter((once.scored[i].fact_id, once.scored[i].question_ids) for i in once.draws.tolist())
        == counts
    )


def test_about_the_asked_share_of_batches_comes_from_replay(policy: LoraPolicy):
    """200 steps at 0.25: 50 expected, standard deviation 6.1; five of them either way."""
    settings = ExplorationConfig(
        n_samples=2, use_buffer_prob=0.25, pf_temp_prob=0.5, pf_temp_low=0.7, pf_temp_high=1.5
    )
    experience = small_experience(policy, settings=settings)
    experience.replay.add([question("a", ids) for ids in ((3, 4), (4, 4), (5, 4))], [0.0] * 3)
    batches = [experience.collect(FACTS, step) for step in range(200)]
    replayed = [b for b in batches if b.n_replayed]
    assert 20 <= len(replayed) <= 80
    assert all(b.pf_temp == 1.0 and b.n_replayed == len(b.scored) for b in replayed)
    tempered = [b.pf_temp for b in batches if b.pf_temp != 1.0]
    # Half of about 150 new batches: 75 ± 5 standard deviations of 6.1.
    assert 45 <= len(tempered) <= 105
    assert all(0.7 <= t <= 1.5 for t in tempered) and min(tempered) < 0.8 and max(tempered) > 1.4


@pytest.mark.parametrize("correct", [False, True])
def test_a_run_that_draws_one_question_a_fact_replays_one(policy: LoraPolicy, correct: bool):
    settings = ExplorationConfig(n_samples=1, use_buffer_prob=1.0, correct_replay=correct)
    experience = small_experience(policy, settings=settings)
    experience.replay.add([question("a", (3,)), question("b", (4,))], [0.0] * 2)
    batch = experience.collect(FACTS, 0)
    assert batch.n_replayed == 2 and len(set(batch.fact_index.tolist())) == 2


def test_replayed_questions_are_the_stored_ones(policy: LoraPolicy):
    experience = replaying(policy)
    stored = [question("b", (3, i), -float(i)) for i in (3, 4, 5)] + [
        question("a", (i,)) for i in (4, 5)
    ]
    experience.replay.add(stored, [0.0] * 5)
    batch = experience.collect(FACTS, 0)
    assert batch.n_replayed == 5
    assert sorted(batch.scored, key=str) == sorted(stored, key=str)
    owners = [batch.facts[i].fact_id for i in batch.fact_index.tolist()]
    assert owners == [s.fact_id for s in batch.scored]
    assert rows_of(batch) == [s.question_ids for s in batch.scored]


def test_too_little_in_replay_means_fresh_questions(policy: LoraPolicy):
    experience = replaying(policy)
    experience.replay.add([question("a", (3,)), question("a", (4,))], [0.0, 0.0])
    batch = experience.collect(FACTS, 0)
    assert batch.n_replayed == 0 and len(batch.scored) == 8


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize(("capacity", "n_stored", "is_replayed"), [(4, 4, True), (4, 3, False)])
def test_a_store_that_holds_less_than_a_step_draws_is_replayed_when_full(
    policy: LoraPolicy, correct: bool, capacity: int, n_stored: int, is_replayed: bool
):
    """One fact a step, 8 questions, room for 4: no step was ever replayed, and nothing said so."""
    settings = ExplorationConfig(n_samples=8, use_buffer_prob=1.0, correct_replay=correct)
    experience = small_experience(policy, settings=settings)
    experience.replay_settings = ReplayConfig(capacity_per_fact=capacity)
    rows = [(3,), (4,), (5,), (3, 4)][:n_stored]
    experience.replay.add([question("a", ids) for ids in rows], [0.0] * n_stored)
    batch = experience.collect(FACTS[:1], 0)
    assert batch.n_replayed == (n_stored if is_replayed else 0)


def test_entries_that_the_environment_cannot_produce_are_skipped(policy: LoraPolicy):
    """A run with other limits left them: too long, unknown tokens, the stop inside.

    They would give -inf or a crash.
    """
    experience = replaying(policy, n=2)
    good = [question("a", (3, 4)), question("a", (5,))]
    bad = [question("a", ids) for ids in ((3, 4, 5, 3), (3, 9), (3, 1), (), (3, 10**6))]
    experience.replay.add([*good, *bad], [0.0] * 7)
    experience.settings = replace(experience.settings, n_samples=6)
    # 2 of 6 are usable, which is too little: new questions are sampled.
    assert experience.collect(FACTS, 0).n_replayed == 0
    experience.replay.clear()
    experience.replay.add([*good, *bad], [0.0] * 7)
    experience.settings = replace(experience.settings, n_samples=2)
    for step in range(40):
        before = experience.replay.snapshot()
        batch = experience.collect(FACTS, step)
        if batch.n_replayed:
            assert {s.question_ids for s in batch.scored} == {(3, 4), (5,)}
        experience.replay.restore(before)  # removes what a step with new questions admits
    policy.evaluate(batch.facts, batch.fact_index, batch.questions)


@pytest.mark.parametrize("special", [0, 17, 18], ids=["pad", "line break", "unknown"])
def test_stored_questions_with_special_tokens_are_not_learned_from(special: int):
    """An older version allowed other tokens. Whatever a store holds, only actions are sampled."""
    lm = fresh_lm()
    policy = LoraPolicy(
        lm,
        task_prompt(PROMPT),
        question_constraints(lm.tokenizer, vocabulary="all", min_len=1, max_len=3),
        LoraConfig(r=4, alpha=8),
    )
    experience = replaying(policy, n=2)
    good = [question("a", (3, 4)), question("a", (5,))]
    bad = [question("a", ids) for ids in ((special,), (special, 4), (3, 4, special))]
    experience.replay.add([*bad, *good], [9.0, 9.0, 9.0, 0.0, 0.0])
    experience.settings = replace(experience.settings, n_samples=5)
    assert experience.collect(FACTS, 0).n_replayed == 0, "2 of 5 are usable"
    experience.replay.clear()
    experience.settings = replace(experience.settings, n_samples=2)
    found = []
    for step in range(40):
        experience.replay.clear()
        experience.replay.add([*bad, *good], [9.0, 9.0, 9.0, 0.0, 0.0])
        batch = experience.collect(FACTS, step)
        found += [s.question_ids for s in batch.scored] if batch.n_replayed else []
    assert set(found) == {(3, 4), (5,)}


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
def test_no_special_token_of_the_packaged_model_is_admitted(vocabulary: Vocabulary):
    """SmolLM2 has 17, ids 0 to 16. Those after <|im_end|> are in no list of named tokens."""
    tokenizer = AutoTokenizer.from_pretrained(packaged_folder("smollm2-135m-instruct"))
    constraints = question_constraints(tokenizer, vocabulary=vocabulary, min_len=1, max_len=6)
    words = tuple(tokenizer(" who wrote it")["input_ids"])
    assert constraints.admits(words)
    special = [i for i, t in tokenizer.added_tokens_decoder.items() if t.special]
    assert special == list(range(17))
    for token in special:
        for ids in ((token,), (token, *words), (*words, token), (words[0], token, *words[1:])):
            assert not constraints.admits(ids), tokenizer.convert_ids_to_tokens(token)


def test_facts_of_two_files_with_one_fact_id_share_no_replay(policy: LoraPolicy):
    """Two files are numbered from 1, and their runs use one server with one namespace."""
    theirs = msgspec.structs.replace(FACTS[0], subject="city", edit_fact="rome wrote city")
    experience = replaying(policy, n=2)
    of_theirs = [
        msgspec.structs.replace(question("a", ids), fact_hash=theirs.content_hash)
        for ids in ((3,), (4,))
    ]
    experience.replay.add(of_theirs, [0.0, 0.0])
    assert experience.collect(FACTS, 0).n_replayed == 0
    assert experience.replay.size(theirs.key) == 2
    batch = experience.collect([theirs], 1)
    assert batch.n_replayed == 2 and batch.facts == (theirs,)
    assert {s.question_ids for s in batch.scored} == {(3,), (4,)}


def test_replay_steps_draw_on_facts_seen_before(policy: LoraPolicy):
    experience = replaying(policy, n=2)
    experience.replay.add([question("b", (3,)), question("b", (4,))], [0.0, 0.0])
    batch = experience.collect(FACTS[:1], 5, seen=FACTS)
    assert batch.n_replayed == 2 and [f.fact_id for f in batch.facts] == ["b"]


@pytest.mark.defect(6)
def test_replayed_rewards_follow_the_phase_the_run_is_in(policy: LoraPolicy):
    """In the old design a reward stored in one phase was learned from in another.

    log C = -7 (no contradiction), log P_Q = -3. Found at step 0 and replayed there: -3 - 50.
    Replayed at step 150, composite: -7 - 3. Its priority is the composite reward in both.
    """
    reward = RewardSchedule(kind="hybrid")
    experience = replaying(policy, n=2, reward=reward, log_c=lambda *_: -7.0)
    entries = [question("a", ids, log_c=-7.0) for ids in ((3, 4), (4, 5))]
    experience.replay.add(entries, reward.priority(RewardParts.of(entries)).tolist())

    def log_r(step: int) -> list[float]:
        batch = experience.collect(FACTS[:1], step)
        assert batch.n_replayed == 2
        return reward(RewardParts.of(batch.scored), step).log_reward.tolist()

    assert log_r(0) == log_r(149) == pytest.approx([-53.0, -53.0])
    assert log_r(150) == pytest.approx([-10.0, -10.0])


@pytest.mark.defect(6)
def test_stored_entries_hold_raw_parts_in_every_phase(policy: LoraPolicy):
    hot = RewardSchedule(
        kind="penalized",
        reward_temp_start=8.0,
        reward_temp_end=8.0,
        failure_penalty=-99.0,
        question_failure_penalty=0.0,
    )
    experience = small_experience(policy, reward=hot, log_c=lambda *_: -7.0)
    batch = experience.collect(FACTS, 0)
    stored = [
        s
        for row in experience.replay.sample([f.key for f in FACTS], 64, random.Random(0))
        for s in row
    ]
    assert {s.question_ids for s in stored} == {s.question_ids for s in batch.scored}
    assert all(s.log_contradiction == pytest.approx(-7.0) for s in stored)
    plain = small_experience(policy, log_c=lambda *_: -7.0)
    plain.collect(FACTS, 0)
    assert experience.replay.snapshot() == plain.replay.snapshot()


@pytest.mark.defect(6)
def test_replay_keeps_the_best_by_composite_reward(policy: LoraPolicy):
    settings = ReplayConfig(capacity_per_fact=3, near_duplicate=0.0)
    exploration = ExplorationConfig(n_samples=40, use_buffer_prob=0.0, pf_temp_prob=0.0)
    experience = small_experience(policy, replay=settings, settings=exploration)
    batch = experience.collect(FACTS[:1], 0)
    unique = {s.question_ids: s.log_contradiction + s.log_p_question for s in batch.scored}
    best = sorted(unique, key=lambda ids: -unique[ids])[:3]
    kept = experience.replay.sample([FACTS[0].key], 10, random.Random(0))[0]
    assert {s.question_ids for s in kept} == set(best)


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_broken_judge_stops_before_anything_is_admitted(policy: LoraPolicy, bad: float):
    experience = small_experience(
        policy, log_c=lambda p, _: bad if p == FACTS[1].edit_fact else -1.0
    )
    with pytest.raises(UserError, match=r"log_contradiction is .* for fact b, question '.*\?'"):
        experience.collect(FACTS, 0)
    assert experience.replay.size() == 0
