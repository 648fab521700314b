"""The defects of the old design (section 4 of the design): none may come back.

A regression test carries the marker `defect(n)` and stands beside the code that it is about. Those
that are about more than one part are here, with a test that every defect has one.
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
from contraflow.text.answers import is_on_topic
from contraflow.training.module import SamplerModule
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import RecordingJudge, RecordingOracle, small_experience, small_policy

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "contraflow"

DEFECTS = {
    1: "the reward canceled out of the loss and never reached the gradient",
    2: "the loss scored another distribution than the one that was sampled from",
    3: "each rank conditioned on its own fact and trained on the questions of rank 0",
    4: "replay keys came from hash(), which is salted per process",
    5: "sampling from replay reseeded the global generators",
    6: "replay mixed rewards of different phases and temperatures",
    7: "question marks after the stop were scored and answered",
    8: "log P of the answer was sliced at the length of the padded prompt",
    9: "the position of the contradiction label was assumed",
    10: "off-topic answers counted as contradictions",
    11: "wrong numbers were logged, and the best checkpoint was chosen by training loss",
    12: "whoever could write to the replay server could run code",
    13: "gradient checkpointing silently dropped the context",
    14: "two full copies of one base model were loaded",
}


class CollectedTests:
    """A pytest plugin that keeps what is collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def test_every_defect_has_a_regression_test(capsys: pytest.CaptureFixture[str]):
    """Each has a collected test in the fast tier that nothing switches off."""
    files = [str(p) for p in TESTS.rglob("test_*.py") if "pytest.mark.defect(" in p.read_text()]
    collected = CollectedTests()
    code = pytest.main(["--collect-only", "-p", "no:cacheprovider", *files], plugins=[collected])
    assert code == 0, capsys.readouterr().out
    switches = {"skip", "skipif", "xfail", "slow"}
    active = [
        item for item in collected.items if switches.isdisjoint(m.name for m in item.iter_markers())
    ]
    covered = {mark.args[0] for item in active for mark in item.iter_markers("defect")}
    assert covered == set(DEFECTS)


def calls_in_source() -> list[tuple[Path, str]]:
    """Return every call in the package as (file, name of the callee)."""
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


@pytest.mark.defect(1)
@pytest.mark.filterwarnings("ignore")
def test_each_reward_reaches_the_adapter_in_a_training_step():
    """Another log C of one question gives another gradient of the adapter, in a whole step."""

    def gradient(log_c: float) -> torch.Tensor:
        module = module_of(use_buffer_prob=0.0)
        judge = module.experience.scorer.judge
        assert isinstance(judge, RecordingJudge)
        first = module.experience.collect(FACTS, 0).scored[0]
        module.experience.scorer._cache.clear()
        pair, table = (FACTS[0].edit_fact, first.answer), judge.log_c
        judge.log_c = lambda p, h: log_c if (p, h) == pair else table(p, h)
        module.training_step(StepFacts(0, tuple(FACTS)), 0).backward()
        return torch.cat([p.grad.flatten() for p in module.lora.adapter_parameters()])

    assert (gradient(-0.1) - gradient(-9.0)).abs().max() > 1e-3


@pytest.mark.defect(4)
def test_the_package_never_calls_hash():
    assert [path for path, callee in calls_in_source() if callee == "hash"] == []


@pytest.mark.defect(5)
def test_the_package_seeds_no_global_generator():
    """Allowed: where the state is restored afterwards, and in the program that trains the judge."""
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
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.defect(7)
def test_oracle_and_prior_get_one_question_mark():
    """One mark in the text for oracle and judge, one stop in the prior."""
    module = module_of(use_buffer_prob=0.0)
    batch = module.experience.collect(FACTS, 0)
    oracle = module.experience.scorer.oracle
    assert isinstance(oracle, RecordingOracle)
    assert oracle.questions
    assert all(text.count("?") == 1 and text.endswith("?") for text in oracle.questions)
    assert all(len(s.log_prior) == len(s.question_ids) + 1 for s in batch.scored)


@pytest.mark.defect(10)
def test_an_off_topic_answer_is_known_without_a_judge():
    assert is_on_topic("Who wrote Hamlet?", "William Shakespeare wrote Hamlet.", "Hamlet")
    off_topic = "The river flows through the green valley down to the cold northern sea."
    assert not is_on_topic("Who wrote Hamlet?", off_topic, "Hamlet")


@pytest.mark.defect(11)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use_buffer_prob", [0.0, 1.0])
def test_log_c_and_log_r_are_logged_under_their_own_names(use_buffer_prob: float):
    """log C is logged as log C, log R as log R, for new and for replayed questions."""
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
    assert outcome is not None
    assert outcome.metrics["replay_share"] == use_buffer_prob
    scored = outcome.batch.scored
    log_c = sum(s.log_contradiction for s in scored) / len(scored)
    assert outcome.metrics["log_contradiction"] == pytest.approx(log_c, abs=1e-5)
    log_r = [s.log_contradiction + s.log_p_question - 5.0 * (not s.question_ok) for s in scored]
    log_r = [r - 10.0 * (s.log_p_answer < -20.0) for r, s in zip(log_r, scored, strict=True)]
    assert outcome.log_reward.tolist() == pytest.approx(log_r, abs=1e-4)
    assert abs(outcome.metrics["log_reward"] - log_c) > 1


@pytest.mark.defect(11)
def test_a_record_holds_the_log_c_of_its_question():
    scored = module_of(use_buffer_prob=0.0).experience.collect(FACTS, 0).scored[0]
    assert record_of(FACTS[0], scored, -7.0, -3.0).log_contradiction == scored.log_contradiction


@pytest.mark.defect(12)
def test_the_package_unpickles_and_evaluates_nothing():
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


@pytest.mark.defect(13)
@pytest.mark.filterwarnings("ignore")
def test_gradient_checkpointing_of_transformers_is_refused():
    """In training mode it keeps no KV cache and would recompute without the header's keys.

    Both ways are refused. Without a header nothing is lost: then the gradients are the same.
    """
    policy = small_policy(fresh_lm())
    plain = small_policy(fresh_lm(), prompt="{edit_fact} :")
    questions = stack_questions([[3, 4, 5], [5]], torch.device("cpu"))
    index = torch.tensor([0, 1])

    def gradients(policy: LoraPolicy) -> list[torch.Tensor]:
        trained = [p for p in policy.lm.model.parameters() if p.requires_grad]
        log_p = policy.evaluate(FACTS, index, questions).log_p_question.sum()
        return list(torch.autograd.grad(log_p, trained))

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


@pytest.mark.defect(14)
def test_sampler_and_oracle_share_one_base_model():
    lm = fresh_lm()
    config = Config(prompt=PromptConfig(task="ask {subject}", answer="ask {question}"))
    config.model.lora.target_modules = ["q_proj"]
    oracle = build.load_oracle(config, lm)
    policy = build.load_policy(config, lm)
    assert isinstance(oracle, FrozenLMOracle)
    assert oracle.lm is policy.lm is lm


@pytest.mark.defect(14)
def test_a_module_holds_no_frozen_weight():
    """Lightning would else move, count and save the base model a second time."""
    module = module_of(use_buffer_prob=0.0)
    held = {id(p) for p in module.parameters()}
    of_the_model = list(module.policy.lm.model.parameters())
    trained = {id(p) for p in of_the_model if p.requires_grad}
    assert held & {id(p) for p in of_the_model} == trained
