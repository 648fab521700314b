"""Runs with a judge, an objective or a reward that the caller gives: what they use and record."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import contraflow
from contraflow.errors import UserError
from contraflow.gflownet.objectives import TrajectoryBalance
from contraflow.replay.existing import recorded_namespace
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.run import build
from contraflow.run.import_questions import import_questions
from contraflow.settings import ExplorationConfig, ObjectiveConfig
from contraflow.training import job
from contraflow.types import TerminalReward
from support.own_objects import LOG_HALF, Absolute, Half
from support.runs import asks_to_stop_at, assert_same_run, lines, replay_of, tiny_config
from support.runs import checkpoint as checkpoint_of

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@dataclass
class Flat(RewardSchedule):
    """log R = log P_Q − 2 for every question, and one priority for all."""

    identity: str = "flat-1"

    def __call__(self, parts: RewardParts, step: int) -> TerminalReward:
        return TerminalReward((parts.log_p_question - 2.0) / self.temperature(step))

    def priority(self, parts: RewardParts) -> torch.Tensor:
        return torch.full_like(parts.log_p_question, -2.0)


@pytest.fixture
def own_judge_only(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of tiny runs, where loading a judge fails."""

    def refuse(_config: object) -> None:
        raise AssertionError("the config's judge was loaded")

    monkeypatch.setattr(build, "load_judge", refuse)
    return tiny


def test_a_run_scores_with_the_judge_it_is_given(own_judge_only: Path):
    judge = Half()
    folder = job.train(tiny_config(own_judge_only), judge=judge)
    stored = [entry["log_contradiction"] for _, entry in replay_of(checkpoint_of(folder)).values()]
    assert judge.n > 2 and stored
    assert stored == pytest.approx([LOG_HALF] * len(stored))
    shown = {"judge": "Half (identity half-1)"}
    assert json.loads((folder / "own_objects.json").read_text()) == shown
    assert json.loads((folder / "run.json").read_text())["config"]["own.judge"] == shown["judge"]
    assert f"`own.judge`: {shown['judge']}" in (folder / "adapter" / "README.md").read_text()


def test_an_own_run_is_resumed_with_the_same_objects(
    own_judge_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """New objects of the same identity; the run ends where one that was not stopped does."""

    def train(name: str, judge: Half | None, **more: object) -> Path:
        return job.train(tiny_config(own_judge_only, name), judge=judge, **more)  # type: ignore[arg-type]

    whole = train("whole", Half(), objective=Absolute())
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        train("cut", Half(), objective=Absolute())
    cut = own_judge_only / "cut"
    refused = [
        (None, Absolute(), r"with its own judge, Half \(identity half-1\), and this start has"),
        (Half("half-2"), Absolute(), r"Half \(identity half-1\), and now judge is .*half-2"),
        (Half(), None, r"with its own objective, .*\.Absolute, and this start has none"),
        (Half(), TrajectoryBalance(), r"Absolute, and now objective is .*TrajectoryBalance\(pen"),
    ]
    for judge, objective, message in refused:
        with pytest.raises(UserError, match=message) as caught:
            train("cut", judge, objective=objective)
        assert "\n" not in str(caught.value) and "another name=…" in str(caught.value)
    capsys.readouterr()
    assert train("cut", Half(), objective=Absolute()) == cut
    assert "resuming from step 3" in capsys.readouterr().err
    assert_same_run(whole, cut)


def test_a_run_of_the_config_takes_no_object_later(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(tiny_config(tiny))
    with pytest.raises(UserError, match=r"trained with the judge of its config, now judge is Half"):
        job.train(tiny_config(tiny), judge=Half())
    job.train(tiny_config(tiny))


def test_an_objective_is_the_loss_of_every_step(tiny: Path):
    """The package's own trajectory balance, given as an object, trains the same run."""
    named = job.train(tiny_config(tiny, "named", objective=ObjectiveConfig(name="tb")))
    given = job.train(tiny_config(tiny, "given"), objective=TrajectoryBalance())
    other = job.train(tiny_config(tiny, "other"), objective=Absolute())
    losses = [[row["loss"] for row in lines(folder)] for folder in (named, given, other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2][0] != pytest.approx(losses[0][0], rel=1e-2)
    shown = json.loads((given / "own_objects.json").read_text())["objective"]
    assert shown.startswith("contraflow.gflownet.objectives.TrajectoryBalance(penalty=Square(")


def test_an_objective_on_policy_learns_from_draws_alone(tiny: Path):
    class OnPolicy(Absolute):
        on_policy = True

    history = lines(job.train(tiny_config(tiny), objective=OnPolicy()))
    assert {row["replay_share"] for row in history} == {0.0}
    assert {row["pf_temp"] for row in history} == {1.0}
    shares = ExplorationConfig(n_samples=4, prior_share=0.5)
    with pytest.raises(UserError, match=r"^exploration\.prior_share=0\.5.* 0 with objective=.*OnP"):
        job.train(tiny_config(tiny, "b", exploration=shares), objective=OnPolicy())
    assert not (tiny / "b").exists()


def test_a_reward_gives_log_r_and_priorities(tiny: Path):
    folder = job.train(tiny_config(tiny), reward=Flat())
    saved = replay_of(checkpoint_of(folder))
    assert {priority for priority, _ in saved.values()} == {-2.0}
    of_config = job.train(tiny_config(tiny, "of_config"))
    parts = [str(recorded_namespace(each)).split("-") for each in (folder, of_config)]
    assert parts[0][0] == parts[1][0] and parts[0][1] != parts[1][1]


def test_judges_of_other_identities_share_no_replay(tiny: Path):
    names = [
        recorded_namespace(job.train(tiny_config(tiny, f"run{i}"), judge=Half(identity)))
        for i, identity in enumerate(("a", "a", "b"))
    ]
    assert names[0] == names[1] != names[2]


def test_before_a_checkpoint_others_measure_anew(tiny: Path):
    """What was measured with the first judge would stand beside the scores of the second."""
    config = tiny_config(tiny)
    folder = job.open_folder(config, job.OwnObjects(judge=Half("a")))
    measured = folder / "evaluation" / "before.json"
    measured.write_text("{}")
    job.open_folder(config, job.OwnObjects(judge=Half("a")))
    assert measured.is_file()
    job.open_folder(config, job.OwnObjects(judge=Half("b")))
    assert not measured.exists()
    job.open_folder(config)
    assert not (folder / "own_objects.json").exists()


def test_an_opened_run_says_who_scores(tiny: Path, capsys: pytest.CaptureFixture[str]):
    folder = job.train(tiny_config(tiny), judge=Half())
    capsys.readouterr()
    facts = contraflow.read_facts(tiny / "facts.jsonl")[:2]
    found = list(contraflow.open_run(folder, judge=Half()).generate(facts, 2))
    assert [row.log_contradiction for row in found] == pytest.approx([LOG_HALF] * len(found))
    assert "its own judge" not in capsys.readouterr().err
    found = list(contraflow.open_run(folder).generate(facts, 2))
    assert all(abs(row.log_contradiction - LOG_HALF) > 1e-4 for row in found)
    said = " ".join(capsys.readouterr().err.split())
    assert "was trained with its own judge, Half (identity half-1); here the judge of" in said


def test_an_own_run_takes_no_questions_of_the_config(tiny: Path):
    folder = job.train(tiny_config(tiny), judge=Half())
    config = contraflow.open_run(folder, judge=Half()).config
    with pytest.raises(UserError, match=r"with its own judge, Half .*only Python has it; name"):
        import_questions(config, folder, [], lambda _: None)


def test_a_damaged_record_of_objects_is_named(tiny: Path):
    folder = job.train(tiny_config(tiny), judge=Half())
    (folder / "own_objects.json").write_text('{"judge"')
    with pytest.raises(UserError, match=r"own_objects\.json: was cut or damaged .*copy it again"):
        job.train(tiny_config(tiny), judge=Half())


def test_actors_are_refused_with_objects(tiny: Path):
    config = tiny_config(tiny)
    config = replace(config, exchange=replace(config.exchange, kind="actors"))
    with pytest.raises(UserError, match=r"^train: judge=…: exchange\.kind=actors scores in .*scat"):
        job.train(config, judge=Half())


def test_the_example_of_the_page_trains_and_opens(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """As written, but with tiny models and settings."""
    monkeypatch.setattr(
        "contraflow.settings.compose.compose_config", lambda _words: tiny_config(tiny, "mine")
    )
    this_file = Path(__file__).relative_to(PAGE.parents[1])
    block = re.search(rf"<!-- run by {this_file} -->\n```python\n(.*?)```", PAGE.read_text(), re.S)
    assert block is not None
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(block[1], str(PAGE), "exec"), names)
    shown = json.loads((tiny / "mine" / "own_objects.json").read_text())
    assert shown == {
        "judge": "SharedWords (identity shared-words-1)",
        "objective": "example.AbsoluteBalance",
    }
    assert isinstance(names["run"], contraflow.run.session.Run)
