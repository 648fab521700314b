"""The parts of a run, and one replay namespace per content of models, prompt and environment."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.identity import legacy_identity
from contraflow.run.build import Parts, assemble, replay_namespace, sampler_fingerprint
from contraflow.run.session import Run
from contraflow.settings import Config, JudgeConfig, ModelConfig, PolicyConfig, PromptConfig
from support.models import save_tiny_model

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
    for recorded, expected in (("another-one", new), (new, new)):
        (run / "replay.json").write_text(json.dumps({"namespace": recorded}))
        assert namespace_of(model, run) == expected


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


def test_name_and_place_of_a_run_are_not_its_sampler():
    config = Config()
    moved = replace(config, name="other", run_dir="elsewhere/other")
    assert sampler_fingerprint(moved) == sampler_fingerprint(config)
    assert sampler_fingerprint(replace(config, seed=1)) != sampler_fingerprint(config)
