"""`Run` and its makers take facts, questions and configs, and refuse all else in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts
from contraflow.run.session import Run, open_run, read_run_config
from contraflow.training.job import train

MADE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run of a tiny model."""
    here = tmp_path_factory.mktemp("run")
    for name in ("whole", "model", "judge"):
        shutil.copytree(MADE / name, here / name)
    return here / "whole"


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        return open_run(folder)


@pytest.fixture(scope="module")
def facts(folder: Path) -> list[Fact]:
    return read_facts(folder / "test_facts.jsonl")[:2]


def refusal(call: Callable[[], Any]) -> str:
    """The message, which has one line."""
    with pytest.raises(UserError) as refused:
        call()
    message = str(refused.value)
    assert "\n" not in message
    return message


BAD_FACTS: list[tuple[Any, str]] = [
    ("facts.jsonl", "facts='facts.jsonl': must be a list of facts; read_facts(FILE) reads one"),
    (None, "facts=None: must be a list of facts"),
    (["Hamlet"], "facts[0] is a str; make each a contraflow.Fact(…)"),
    ([{"subject": "Hamlet"}], "facts[0] is a dict; make each"),
]


@pytest.mark.parametrize(("given", "message"), BAD_FACTS)
def test_what_is_no_list_of_facts_is_refused(run: Run, given: Any, message: str):
    for call in (run.generate, run.evaluate, run.known_facts, lambda f: run.draw_for_target(f, 2)):
        assert refusal(lambda call=call: call(given)).startswith(message)  # type: ignore[misc]


def test_a_single_fact_is_refused_with_the_remedy(run: Run, facts: list[Fact]):
    single: Any = facts[0]
    assert refusal(lambda: run.generate(single)) == (
        "facts: is a single fact; give a list of facts, [fact]"
    )


def test_a_generator_of_facts_is_taken(run: Run, facts: list[Fact]):
    """Facts are gone through twice."""
    written = list(run.generate(facts, 2))
    assert len(written) == 4
    assert list(run.generate(iter(facts), 2)) == written
    assert run.evaluate((fact for fact in facts), 2)[1] == written
    assert run.known_facts(iter(facts)) == run.known_facts(facts)


@pytest.mark.parametrize("questions", ["Who wrote Hamlet?", None, [None], [3], 3])
def test_what_is_no_list_of_questions_is_refused(run: Run, questions: Any):
    """A text was asked letter by letter."""
    assert refusal(lambda: run.answer(questions)).startswith(f"questions={questions!r}: ")


def test_questions_are_taken_from_any_iterable(run: Run):
    questions = ["who wrote hamlet ?", "what is rome ?"]
    assert run.answer(iter(questions)) == run.answer(questions)


@pytest.mark.parametrize("distinct", ["false", "true", 1, None])
def test_distinct_is_true_or_false(run: Run, facts: list[Fact], distinct: Any):
    """The text "false" counted as true."""
    message = f"distinct={distinct!r}: must be True or False"
    assert refusal(lambda: run.generate(facts, 2, distinct=distinct)) == message
    assert refusal(lambda: run.evaluate(facts, 2, distinct=distinct)) == message


@pytest.mark.parametrize("config", ["experiment=quickstart", ["experiment=quickstart"], {}, 3])
def test_a_config_is_made_by_compose_config(folder: Path, config: Any):
    for name in ("untrained", folder):
        message = refusal(lambda name=name: open_run(name, config))  # type: ignore[misc]
        assert message.startswith(f"open_run: config={config!r}: must be a Config")
        assert 'compose_config(["experiment=quickstart"])' in message
    assert refusal(lambda: train(config)).startswith(f"train: config={config!r}: must be a Config")


@pytest.mark.parametrize("run_name", [None, 3, ["whole"]])
def test_a_run_is_named_by_a_text_or_a_path(run_name: Any):
    assert refusal(lambda: open_run(run_name)).startswith(f"open_run: run={run_name!r}: must be")


def test_the_config_of_a_run_is_read_by_a_text_too(folder: Path):
    """As the message about another sampler writes it."""
    assert read_run_config(str(folder)) == read_run_config(folder)
