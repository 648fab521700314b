"""A trained run that is asked otherwise: another oracle answers the same sampler's questions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contraflow.errors import UserError
from contraflow.facts import read_facts
from contraflow.run.session import open_run, read_run_config
from contraflow.settings.compose import compose_config
from support.cli import Result, assert_one_error

MADE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained run, an edited copy of its model, and the edit as a delta."""
    for name in ("whole", "model", "judge"):
        shutil.copytree(MADE / name, tmp_path / name)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    name = next(name for name in weights if "down_proj" in name)
    edit = {name: torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))}
    save_file(edit, tmp_path / "delta.safetensors")
    shutil.copytree(tmp_path / "model", tmp_path / "edited")
    save_file(weights | edit, tmp_path / "edited" / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path


def asked(here: Path, oracle: str | None) -> list[tuple[str, str]]:
    config = read_run_config(here / "whole")
    config.oracle.name = oracle
    run = open_run(here / "whole", config)
    facts = read_facts(here / "whole" / "test_facts.jsonl")
    return [(r.question, r.answer) for r in run.generate(facts, 4, seed=1)]


def test_another_oracle_answers_the_same_questions(here: Path):
    own, edited, delta = (asked(here, name) for name in (None, "edited", "delta.safetensors"))
    facts = read_facts(here / "whole" / "test_facts.jsonl")
    as_before = [(r.question, r.answer) for r in open_run("whole").generate(facts, 4, seed=1)]
    assert own == as_before
    assert [q for q, _ in edited] == [q for q, _ in own]
    assert [a for _, a in edited] != [a for _, a in own]
    assert delta == edited


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.name=edited", r"was trained with model\.name='model', the config has 'edited'"),
        ("model.lora.r=4", r"trained with model\.lora\.r=16, the config has 4"),
        ("policy.max_question_len=9", r"policy\.max_question_len=4, the config has 9"),
    ],
)
def test_a_config_of_another_sampler_is_refused(here: Path, override: str, message: str):
    """It was ignored, so the user saw answers of other settings than were asked for."""
    config = read_run_config(here / "whole")
    key, _, value = override.partition("=")
    section: object = config
    for name in key.split(".")[:-1]:
        section = getattr(section, name)
    setattr(section, key.rpartition(".")[2], int(value) if value.isdigit() else value)
    with pytest.raises(UserError, match=rf"^open_run: .*{message}; start from read_run_config"):
        open_run(here / "whole", config)


def test_a_composed_config_is_refused_by_its_first_difference(here: Path):
    """Its sampler is the packaged model, and not the one that was trained."""
    with pytest.raises(UserError, match=r"model\.name='model', the config has 'packaged:smollm2"):
        open_run(here / "whole", compose_config())


@pytest.mark.usefixtures("here")
def test_the_command_line_asks_a_trained_run_otherwise(
    contraflow: Callable[..., Result],
):
    ask = ("generate", "run=whole", "facts=whole/test_facts.jsonl", "n=3", "seed=1")
    found = {}
    for name in (None, "edited", "delta.safetensors"):
        other = () if name is None else (f"oracle.name={name}", "oracle.max_answer_tokens=20")
        result = contraflow(*ask, *other)
        assert result.code == 0, result.err
        found[name] = [json.loads(line) for line in result.out.splitlines()]
    questions = [[row["question"] for row in rows] for rows in found.values()]
    answers = [[row["answer"] for row in rows] for rows in found.values()]
    assert questions[0] == questions[1] == questions[2]
    assert answers[0] != answers[1] == answers[2]
    result = contraflow("evaluate", *ask[1:], "oracle.name=edited", "out=m.json")
    assert result.code == 0, result.err


@pytest.mark.usefixtures("here")
def test_the_command_line_refuses_what_a_sampler_was_trained_with(
    contraflow: Callable[..., Result],
):
    ask = ("generate", "run=whole", "facts=whole/test_facts.jsonl")
    for override in ("prompt.task=x", "model.name=edited", "policy.min_question_len=1"):
        assert_one_error(contraflow(*ask, override), f"{override}: a run keeps what its")
    assert_one_error(contraflow(*ask, "oracle.name=gone.safetensors"), "no such file")
    assert_one_error(contraflow(*ask, "oracle.name=whole"), "is the folder of a run")
    assert_one_error(contraflow(*ask, "prompt.answer=hello"), "shows none of question")


@pytest.mark.slow
def test_evaluate_estimates_an_exact_sampler(
    here: Path, contraflow: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    """On the real small run, with questions of its prior; two facts carry an interval."""
    monkeypatch.setattr("contraflow.evaluation.target_report.MIN_SIZE", 1.0)
    facts = here / "whole" / "test_facts.jsonl"
    asked = ["evaluate", "run=whole", f"facts={facts}", "n=3", "out=m.json"]
    result = contraflow(*asked, "target_samples=6")
    assert result.code == 0
    n = len(read_facts(facts))
    assert f"{n} of {n} facts whose 6 weighted prior questions suffice, n = 3" in result.out
    rows = {line.split("|")[1].strip(): line for line in result.out.splitlines() if "|" in line}
    assert "this sampler" in result.out and len(rows) >= 6
    assert_one_error(contraflow(*asked, "target_samples=1"), "target_samples=1")
    for choice in (["distinct=true"], ["keep=2"]):
        alone = contraflow(*asked, "target_samples=6", *choice).out
        assert "an exact sampler of the target" in alone and "this sampler" not in alone
        assert "which do not, are not compared with it" in " ".join(alone.split())


def test_evaluate_measures_different_questions(here: Path, contraflow: Callable[..., Result]):
    facts = here / "whole" / "test_facts.jsonl"
    asked = ["evaluate", "run=whole", f"facts={facts}", "n=6", "out=m.json", "distinct=true"]
    assert contraflow(*asked).code == 0
    assert json.loads(Path("m.json").read_text())["metrics"]["distinct_questions"]["value"] == 1
