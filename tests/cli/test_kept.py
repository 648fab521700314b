"""`evaluate` and `generate` that were stopped go on, and ask a served oracle nothing twice.

A small trained run is the sampler, the stand-in for a server is the oracle.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contraflow.evaluation.target_report import read_target
from contraflow.run.kept import kept_beside
from support.cli import Result, assert_one_error, json_lines
from support.served import StandIn, stand_in
from support.served_text import Behavior, completion

MADE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
Call = Callable[..., Result]

OUT = {"evaluate": Path("out.json"), "generate": Path("out.jsonl")}
KEPT = {command: path.with_name(f"{path.name}.kept") for command, path in OUT.items()}
N = 8  # questions a fact: one fact a batch
N_OPENING = 4  # requests when a served model is opened
N_ANSWERED = 10  # in the second of two batches


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in ("whole", "model", "judge"):
        shutil.copytree(MADE / name, tmp_path / name)
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    # The sentence encoder takes a second to load, and two metrics are not what is tested here.
    monkeypatch.setattr("contraflow.run.session._embed", lambda: None)
    monkeypatch.setattr("contraflow.evaluation.rollout.QUESTIONS_PER_BATCH", N)
    with stand_in() as running:
        yield running


def words(command: str, server: StandIn, *more: str) -> list[str]:
    given = [command, "run=whole", "facts=whole/test_facts.jsonl", f"out={OUT[command]}"]
    settings = [f"oracle.name={server.source}", "oracle.served.concurrency=2"]
    return [*given, f"n={N}", *settings, *more]


def asked(server: StandIn) -> Counter[str]:
    """How often each question was asked; the requests of opening a model are left out."""
    return Counter(body["prompt"] for body in server.bodies if "ask :" in body["prompt"])


def answers(command: str) -> list[str]:
    """The questions whose answers are kept."""
    return [row["question"] for row in json_lines((KEPT[command] / "answers.jsonl").read_text())]


def stop_by_limit(contraflow: Call, command: str, server: StandIn, *more: str) -> Result:
    """Run until the limit of requests is reached."""
    limit = f"oracle.served.max_requests={N_OPENING + N_ANSWERED}"
    return contraflow(*words(command, server, limit, *more))


@pytest.mark.parametrize(
    ("command", "distinct"), [("evaluate", "false"), ("evaluate", "true"), ("generate", "false")]
)
def test_a_stopped_command_goes_on_and_asks_nothing_twice(
    contraflow: Call, server: StandIn, command: str, distinct: str
) -> None:
    """The file is that of a command that was not stopped, to the last byte."""
    sampling = f"distinct={distinct}"
    assert contraflow(*words(command, server, sampling)).code == 0
    expected, n_asked = OUT[command].read_bytes(), len(asked(server))
    assert n_asked > N_ANSWERED and not KEPT[command].exists()
    OUT[command].unlink()
    server.bodies.clear()

    result = stop_by_limit(contraflow, command, server, sampling)
    assert result.code == 2
    assert f"all answers are kept in {KEPT[command]}" in result.err.splitlines()[-1]
    assert not OUT[command].exists()
    assert len(answers(command)) == N_ANSWERED, "each as it comes, not each batch"

    result = contraflow(*words(command, server, sampling))
    assert result.code == 0
    going_on = f"{KEPT[command]}: going on with {N_ANSWERED} answers and {N} scored questions"
    assert going_on in result.err.replace("\n", " ")
    assert OUT[command].read_bytes() == expected
    assert set(asked(server).values()) == {1} and len(asked(server)) == n_asked
    assert not KEPT[command].exists()


def test_ctrl_c_loses_only_what_is_in_flight(contraflow: Call, server: StandIn) -> None:
    """A real signal, at the sixth question."""
    command = "evaluate"
    lock = threading.Lock()
    seen = [0]

    def write(body: dict[str, Any]) -> dict[str, Any]:
        if "ask :" in body["prompt"]:
            with lock:
                seen[0] += 1
                if seen[0] == 6:
                    os.kill(os.getpid(), signal.SIGINT)
        return completion(body, False, Behavior(), 0)

    server.behavior.writer = write
    result = contraflow(*words(command, server))
    assert result.code == 130
    assert result.err.splitlines()[-1].startswith("contraflow: stopped; "), result.err
    kept = answers(command)
    assert 3 <= len(kept) <= 7, "two are in flight"
    server.bodies.clear()
    assert contraflow(*words(command, server)).code == 0
    again = {text.split("ask : ")[-1].split("?")[0] + "?" for text in asked(server)}
    assert again and not again & set(kept)


def test_other_settings_use_the_answers_that_are_still_right(
    contraflow: Call, server: StandIn
) -> None:
    """Another seed has other questions, of which some were asked before."""
    stop_by_limit(contraflow, "evaluate", server)
    server.bodies.clear()
    kept = answers("evaluate")
    result = contraflow(*words("evaluate", server, "seed=4"))
    assert result.code == 0
    again = {text.split("ask : ")[-1].split("?")[0] + "?" for text in asked(server)}
    assert again and not again & set(kept)


def test_answers_of_another_oracle_are_not_used(contraflow: Call, server: StandIn) -> None:
    stop_by_limit(contraflow, "evaluate", server)
    n_asked = len(asked(server))
    own = words("evaluate", server)
    own = [word for word in own if not word.startswith("oracle.")]
    result = contraflow(*own)
    assert result.code == 0
    assert "out.json.kept: its answers are of another oracle, and are not used" in (
        result.err.replace("\n", " ")
    )
    assert len(asked(server)) == n_asked
    kept = OUT["evaluate"].read_bytes()
    assert contraflow(*own).code == 0
    assert OUT["evaluate"].read_bytes() == kept


def test_a_damaged_last_answer_is_asked_again(contraflow: Call, server: StandIn) -> None:
    stop_by_limit(contraflow, "evaluate", server)
    path = KEPT["evaluate"] / "answers.jsonl"
    last = answers("evaluate")[-1]
    path.write_bytes(path.read_bytes()[:-9])
    server.bodies.clear()
    result = contraflow(*words("evaluate", server))
    assert result.code == 0
    said = result.err.replace("\n", " ")
    assert "answers.jsonl: its last line was damaged and is dropped; its question will" in said
    assert any(last in text for text in asked(server))


def test_two_commands_do_not_share_a_folder(contraflow: Call, server: StandIn) -> None:
    with kept_beside(OUT["generate"]):
        result = contraflow(*words("generate", server))
    assert_one_error(result, "out.jsonl.kept: another process makes the same file")
    assert not server.bodies[1:], "only the check of the address"


def test_a_stream_has_nothing_kept(tmp_path: Path) -> None:
    for out in (None, Path("/dev/null")):
        with kept_beside(out) as kept:
            assert kept.folder is None
    assert not list(tmp_path.iterdir())


def test_own_files_in_the_folder_stay(tmp_path: Path) -> None:
    folder = tmp_path / "out.json.kept"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with kept_beside(tmp_path / "out.json"):
        pass
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_the_estimate_of_an_exact_sampler_is_a_file_beside_the_metrics(
    contraflow: Call, server: StandIn
) -> None:
    """It was printed only, so that no script could read it."""
    result = contraflow(*words("evaluate", server, "target_samples=4"))
    assert result.code == 0
    assert "wrote out.target.json" in result.err
    estimate = read_target(Path("out.target.json"))
    assert estimate is not None and estimate.n_samples == 4
