"""What went wrong before, line by line (section 4 of the design): where each is kept from coming
back.

A test here either is the regression test, or makes sure that the one it names still stands.
"""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest
import torch

from contraflow.evaluation.rollout import record_of
from contraflow.exactness.space import make_space
from contraflow.experience.stream import StepFacts
from contraflow.gflownet.objectives import SubTB
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardSchedule
from contraflow.run import build
from contraflow.seeding import torch_rng
from contraflow.settings import Config, PromptConfig
from contraflow.settings.learning import ExplorationConfig, OptimizerConfig
from contraflow.text.checks import is_on_topic
from contraflow.training.module import SamplerModule
from support.tables import FACTS, EchoOracle, small_experience, small_policy
from support.tiny_models import fresh_lm

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "contraflow"


def stands(file: str, *names: str) -> None:
    """The named tests exist, in this file, and are not skipped out of hand."""
    functions = {
        node.name: node
        for node in ast.parse((TESTS / file).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    for name in names:
        assert name in functions, f"{file} has lost {name}"
        marks = " ".join(map(ast.unparse, functions[name].decorator_list))
        assert "skip(" not in marks and "xfail" not in marks, f"{file}::{name} is switched off"


def calls_in_source() -> list[tuple[Path, str]]:
    """Every call in the package, as (file, callee)."""
    return [
        (path, ast.unparse(node.func))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def module_of(**exploration: float) -> SamplerModule:
    policy = small_policy(fresh_lm())
    settings = ExplorationConfig(n_samples=4, pf_temp_prob=0.0, **exploration)
    reward = RewardSchedule(kind="static", question_failure_penalty=-5.0)
    experience = small_experience(policy, settings=settings, reward=reward)
    return SamplerModule(policy, experience, reward, SubTB(), OptimizerConfig(), n_steps=10)


def test_1_the_reward_cancelled_and_never_reached_the_gradient():
    from gflownet.test_objectives import (
        test_defect_1_the_reward_cancelled_and_never_reached_the_gradient as old_and_new_loss,
    )

    old_and_new_loss()
    stands("gflownet/test_objectives.py", "test_one_log_reward_reaches_loss_and_gradient")


@pytest.mark.filterwarnings("ignore")
def test_1_in_the_training_step_each_reward_reaches_the_adapter():
    """The whole step, not the formula alone: another log C of one question, another gradient of the
    adapter.
    """

    def gradient(log_c: float) -> torch.Tensor:
        module = module_of(use_buffer_prob=0.0)
        judge = module.experience.scorer.judge
        first = module.experience.collect(FACTS, 0).scored[0]
        module.experience.scorer._cache.clear()
        table = judge.log_c
        judge.log_c = lambda p, h: (
            log_c if (p, h) == (FACTS[0].edit_fact, first.answer) else table(p, h)
        )
        module.training_step(StepFacts(0, tuple(FACTS)), 0).backward()
        return torch.cat([p.grad.flatten() for p in module.lora.adapter_parameters()])

    assert (gradient(-0.1) - gradient(-9.0)).abs().max() > 1e-3


def test_2_the_loss_scored_another_distribution_than_was_drawn_from():
    stands("policy/test_constraints.py", "test_drawing_and_scoring_mask_alike_at_every_step")
    stands(
        "policy/test_lora_policy.py",
        "test_stop_is_free_where_forced_and_no_action_before_the_minimum",
        "test_draws_follow_the_evaluated_probabilities",
        "test_tempered_draws_sharpen_tokens_but_scores_stay_untempered",
    )


@pytest.mark.skip(reason="one process so far; many ranks, each on its own facts, come with issue 4")
def test_3_each_rank_learnt_from_questions_about_another_ranks_fact():
    """Two gloo processes. That ranks draw apart is tested already: test_schedules_seeding,
    test_experience.
    """


def test_4_replay_keys_came_from_a_hash_that_is_salted_per_process():
    assert [path for path, callee in calls_in_source() if callee == "hash"] == []
    stands("replay/test_selection.py", "test_ids_are_the_same_in_every_process")
    stands("test_seeding.py", "test_streams_are_the_same_in_a_process_with_another_hash_salt")


def test_5_drawing_from_replay_reseeded_the_whole_run():
    """Nothing in the library seeds a global generator, but where it is put back or a program of its
    own trains.
    """
    seeding = {
        "torch.manual_seed",
        "torch.cuda.manual_seed_all",
        "random.seed",
        "np.random.seed",
        "L.seed_everything",
    }
    places = {
        path.relative_to(SOURCE).as_posix()
        for path, callee in calls_in_source()
        if callee in seeding
    }
    assert places <= {"run/build.py", "reward/judge/training/train.py", "exactness/space.py"}
    lm = fresh_lm()
    before = torch.random.get_rng_state(), random.getstate()
    config = Config(prompt=PromptConfig(task="ask {subject}"))
    config.model.lora.target_modules = ["q_proj"]
    build.load_policy(config, lm)
    make_space(architecture="llama", n_tokens=2, max_len=2, reward="table", seed=0)
    assert torch.equal(before[0], torch.random.get_rng_state()) and before[1] == random.getstate()
    stands("replay/test_contract.py", "test_the_global_generators_are_left_alone")
    stands("experience/test_collect.py", "test_global_generators_are_left_alone")


def test_6_replay_mixed_rewards_of_phases_and_temperatures():
    stands(
        "experience/test_collect.py",
        "test_replayed_rewards_follow_the_phase_the_run_is_in",
        "test_admitted_entries_hold_raw_parts_whatever_phase_and_temperature",
        "test_replay_keeps_the_best_by_composite_reward",
    )
    stands(
        "reward/test_schedule.py",
        "test_priority_is_the_same_in_every_phase_and_at_every_temperature",
    )


def test_7_question_marks_after_the_stop_were_weighed_and_answered():
    """The oracle and the judge get one mark, the prior one stop."""
    stands("policy/test_lora_policy.py", "test_questions_never_hold_another_question_mark")
    module = module_of(use_buffer_prob=0.0)
    batch = module.experience.collect(FACTS, 0)
    oracle = module.experience.scorer.oracle
    assert isinstance(oracle, EchoOracle)
    assert oracle.asked and all(
        text.count("?") == 1 and text.endswith("?") for text in oracle.asked
    )
    assert all(len(s.log_prior) == len(s.question_ids) + 1 for s in batch.scored)


def test_8_log_p_of_the_answer_was_sliced_by_the_padded_prompt():
    stands(
        "reward/test_oracle.py",
        "test_answers_equal_a_greedy_loop",
        "test_an_answer_is_the_same_alone_and_beside_longer_prompts",
    )


def test_9_the_contradiction_label_was_assumed():
    stands(
        "reward/judge/test_checkpoint_judge.py",
        "test_columns_follow_the_checkpoints_own_names",
        "test_label_orders_in_the_wild",
        "test_a_wrong_judge_fails_the_self_test",
        "test_a_checkpoint_without_contradiction_is_refused_by_name",
    )


def test_10_off_topic_answers_scored_as_contradictions():
    """The text checks tell them apart without a judge; that the judge does too is in its own tests."""
    assert is_on_topic("Who wrote Hamlet?", "William Shakespeare wrote Hamlet.", "Hamlet")
    astray = "The river flows through the green valley down to the cold northern sea."
    assert not is_on_topic("Who wrote Hamlet?", astray, "Hamlet")
    stands("text/test_answer_checks.py", "test_on_topic", "test_degenerate_answers")
    stands(
        "reward/judge/test_shipped_judge.py",
        "test_hand_written_pairs",
        "test_degenerate_answers_are_no_contradictions",
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use_buffer_prob", [0.0, 1.0])
def test_11_replayed_batches_logged_the_total_reward_as_the_contradiction(use_buffer_prob: float):
    """log C is logged as log C, log R as log R, of fresh and replayed questions alike."""
    module = module_of(use_buffer_prob=use_buffer_prob)
    if use_buffer_prob:
        module.experience.settings = ExplorationConfig(
            n_samples=16, pf_temp_prob=0.0, use_buffer_prob=0.0
        )
        module.experience.collect(FACTS, 7)
        module.experience.settings = ExplorationConfig(
            n_samples=4, pf_temp_prob=0.0, use_buffer_prob=1.0
        )
    module.training_step(StepFacts(0, tuple(FACTS)), 0)
    outcome = module.outcome
    assert outcome is not None and outcome.metrics["replay_share"] == use_buffer_prob
    scored = outcome.batch.scored
    log_c = sum(s.log_contradiction for s in scored) / len(scored)
    assert outcome.metrics["log_contradiction"] == pytest.approx(log_c, abs=1e-5)
    log_r = [s.log_contradiction + s.log_p_question - 5.0 * (not s.question_ok) for s in scored]
    log_r = [r - 10.0 * (s.log_p_answer < -20.0) for r, s in zip(log_r, scored, strict=True)]
    assert outcome.log_reward.tolist() == pytest.approx(log_r, abs=1e-4)
    assert abs(outcome.metrics["log_reward"] - log_c) > 1


def test_11_best_by_training_loss_empty_validation_no_evaluation():
    stands(
        "training/test_stops.py",
        "test_best_is_chosen_by_validation_and_becomes_the_adapter",
        "test_best_is_by_default_what_is_nearest_to_the_target_rather_than_what_pays_most",
        "test_validation_sees_the_final_untempered_reward_in_every_phase",
    )
    stands("end_to_end/test_end_to_end.py", "test_run_folder_holds_what_the_docs_promise")
    scored = module_of(use_buffer_prob=0.0).experience.collect(FACTS, 0).scored[0]
    assert record_of(FACTS[0], scored, -7.0, -3.0).log_contradiction == scored.log_contradiction


def test_12_whoever_could_write_to_the_buffer_could_run_code():
    loaders = {
        "pickle.loads",
        "pickle.load",
        "pickle.Unpickler",
        "cloudpickle.loads",
        "eval",
        "exec",
        "marshal.loads",
    }
    assert [(path.name, callee) for path, callee in calls_in_source() if callee in loaders] == []
    stands("replay/test_codec.py", "test_a_pickle_is_refused_and_never_run")
    stands("facts/formats/test_zsre_pickle.py", "test_a_malicious_pickle_is_refused_and_not_run")
    stands(
        "training/test_resume.py",
        "test_a_checkpoint_holds_what_is_trained_and_loads_as_weights_only",
    )


@pytest.mark.filterwarnings("ignore")
def test_13_gradient_checkpointing_silently_dropped_the_context():
    """Switched on from outside, in training mode, transformers keeps no cache, and recomputes
    without our header.

    Both are refused, not learned from. Without a header there is nothing to lose: then the
    gradients are the same.
    """
    policy, plain = small_policy(fresh_lm()), small_policy(fresh_lm(), prompt="{edit_fact} :")
    questions, index = stack_questions([[3, 4, 5], [5]], torch.device("cpu")), torch.tensor([0, 1])

    def gradients(policy: LoraPolicy) -> list[torch.Tensor]:
        trained = [p for p in policy.lm.model.parameters() if p.requires_grad]
        return list(
            torch.autograd.grad(
                policy.evaluate(FACTS, index, questions).log_p_question.sum(), trained
            )
        )

    expected = gradients(plain)
    for p in (policy, plain):
        p.lm.model.gradient_checkpointing_enable()
        p.evaluate(FACTS, index, questions)
        p.lm.model.train()
    with pytest.raises(RuntimeError, match="switch gradient checkpointing off"):
        policy.evaluate(FACTS, index, questions)
    with pytest.raises(RuntimeError, match="switch gradient checkpointing off"):
        policy.sample(FACTS, 2, torch_rng(0))
    for ours, theirs in zip(gradients(plain), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_14_two_full_copies_of_one_base_model_were_loaded():
    lm = fresh_lm()
    config = Config(prompt=PromptConfig(task="ask {subject}", answer="ask {question}"))
    config.model.lora.target_modules = ["q_proj"]
    oracle = build.load_oracle(config, lm)
    policy = build.load_policy(config, lm)
    assert isinstance(oracle, FrozenLMOracle)
    assert oracle.lm is policy.lm is lm
    kept = {id(p) for p in lm.model.parameters()}
    module = module_of(use_buffer_prob=0.0)
    theirs = {id(p) for p in module.policy.lm.model.parameters()}
    held = {id(p) for p in module.parameters()}
    trained = {id(p) for p in module.policy.lm.model.parameters() if p.requires_grad}
    assert held & theirs == trained and not held & kept
    stands("reward/test_oracle.py", "test_the_oracle_is_the_model_without_the_samplers_adapter")


def test_every_line_has_its_test():
    names = [n for n in globals() if n.startswith("test_")]
    assert {int(n.split("_")[1]) for n in names if n.split("_")[1].isdigit()} == set(range(1, 15))
