"""Objects of a caller's own that do not do what they stand for are refused in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import contraflow
from contraflow.errors import UserError
from contraflow.gflownet.objectives import TrajectoryBalance
from contraflow.gflownet.penalties import Square
from contraflow.gflownet.policy_gradient import Rloo
from contraflow.reward.judge.scores import NliScores
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.own_checks import check_own, check_own_of_run
from contraflow.run.own_objects import OwnObjects, scores_identity, shown_object
from contraflow.settings import Config, ExplorationConfig
from support.own_objects import Absolute, Half

THIRDS = torch.full((2, 3), 1 / 3)


@dataclass
class NamedReward(RewardSchedule):
    identity: str = "mine-1"


class BuiltOtherwise(RewardSchedule):
    """Not a dataclass: it cannot be copied with another temperature."""

    identity = "mine-2"

    def __init__(self, _weight: float) -> None:
        super().__init__()


def judge_of(scores: Any, identity: Any = "mine-1") -> Any:
    return SimpleNamespace(identity=identity, score=lambda _premises, _hypotheses: scores)


def refusal(**objects: Any) -> str:
    with pytest.raises(UserError) as caught:
        check_own("train", OwnObjects(**objects))
    message = str(caught.value)
    assert "\n" not in message and ("; " in message)
    return message


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (Half, "train: judge=Half: is a class; give an object of it, such as Half()"),
        (object(), "train: judge=object: has no method score(premises, hypotheses)"),
        (judge_of(NliScores(THIRDS.log()), None), "has no identity, under which its scores are"),
        (judge_of(NliScores(THIRDS.log()), " "), "has no identity"),
        (judge_of(NliScores(THIRDS.log()), f"{object()}"), "is another text each time"),
        (judge_of(THIRDS), "score() of 2 pairs returned a Tensor; return NliScores(log_probs)"),
        (judge_of(NliScores(THIRDS[:1].log())), "has log_probs [1, 3] in place of [2, 3]"),
        (
            judge_of(NliScores(THIRDS)),
            "has log_probs above 0; return NliScores(log_probs) w",
        ),
        (judge_of(NliScores(-9 * THIRDS)), "whose probabilities do not add up to 1 (raw logits?)"),
        (judge_of(NliScores((0 * THIRDS).log())), "has log_probs that are no finite numbers"),
    ],
)
def test_a_judge_that_cannot_score_is_refused(judge: Any, message: str):
    assert message in refusal(judge=judge)


def test_an_identity_that_changes_is_refused():
    class Counting(Half):
        numbers = itertools.count()
        identity = property(lambda self: f"judge {next(self.numbers)}")  # type: ignore[assignment]

        def __init__(self) -> None:
            self.n = 0

    assert "is another text each time" in refusal(judge=Counting())


def without(name: str) -> Any:
    names = ("uses_flow", "needs_prefix_rewards", "needs_tokens", "on_policy")
    made: Any = lambda *_: torch.tensor(0.0)  # noqa: E731
    for attribute in names:
        setattr(made, attribute, False)
    made.terms = len
    delattr(made, name)
    return made


class Trained(torch.nn.Linear, Absolute):
    """A loss with a weight and a bias."""

    def __init__(self) -> None:
        torch.nn.Linear.__init__(self, 1, 1)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Absolute, "train: objective=Absolute: is a class"),
        (object(), "cannot be called; write __call__(potentials, group, weight=None)"),
        (without("terms"), "has no method terms(group)"),
        (Trained(), "has parameters, which no optimizer trains; make them constants"),
        (without("on_policy"), "has no on_policy, which is True or False; inherit"),
    ],
)
def test_an_objective_that_lacks_a_part_is_refused(objective: Any, message: str):
    assert message in refusal(objective=objective)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda _parts, _step: 0.0, "is no reward schedule; make its class a dataclass"),
        (RewardSchedule(), "is the package's own; set reward.… in the config"),
        (BuiltOtherwise(1.0), "cannot be copied with another temperature"),
        (NamedReward(identity=""), "has no identity"),
    ],
)
def test_a_reward_that_is_no_schedule_is_refused(reward: Any, message: str):
    assert message in refusal(reward=reward)


def test_objects_that_do_what_they_should_pass():
    judge = Half()
    own = OwnObjects(judge, Absolute(), NamedReward())
    check_own_of_run(own, Config())
    assert judge.n == 2
    assert own.shown["reward"] == "NamedReward (identity mine-1)"


def test_an_objective_on_policy_needs_its_own_draws():
    check_own_of_run(OwnObjects(objective=Rloo()), Config())
    with pytest.raises(UserError, match=r"^exploration\.n_stored=2: must be 0 with objective=.*Rl"):
        check_own_of_run(
            OwnObjects(objective=Rloo()), Config(exploration=ExplorationConfig(n_stored=2))
        )


@pytest.mark.parametrize(
    "call",
    [
        lambda judge: contraflow.open_run("untrained", Config(), judge=judge),
        lambda judge: contraflow.audit("LORA", edits="edits.jsonl", judge=judge),
        lambda judge: contraflow.train(Config(), judge=judge),
    ],
    ids=["open_run", "audit", "train"],
)
def test_every_entry_checks_its_judge_first(call: Callable[[Any], Any]):
    with pytest.raises(UserError, match=r"^(open_run|audit|train): judge=Half: is a class"):
        call(Half)


def test_an_object_is_shown_alike_in_every_process():
    assert shown_object(Half("a\nb")) == r"Half (identity a\nb)"
    assert shown_object(Absolute()) == "support.own_objects.Absolute"
    huber = TrajectoryBalance(Square(bound=2.0))
    assert shown_object(huber).endswith(".TrajectoryBalance(penalty=Square(bound=2.0))")
    local = TrajectoryBalance(lambda residual: residual)  # type: ignore[arg-type]
    assert shown_object(local) == "contraflow.gflownet.objectives.TrajectoryBalance"


def test_a_changed_judge_of_ours_has_scores_of_its_own():
    """It inherits the identity of the package's judge, but scores otherwise."""

    def stand_in_for(name: str) -> Any:
        return type(name, (), {"__module__": "contraflow.reward.judge.minilm", "identity": "x"})

    ours = stand_in_for("PackagedJudge")
    changed = type("Mine", (ours,), {"__module__": "mine"})
    assert scores_identity(ours()) == "x"
    assert scores_identity(changed()) == "Mine|x"
    assert scores_identity(Half("x")) == "x"
