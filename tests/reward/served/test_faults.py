"""Servers that fail: what is tried again, what stops at once, and that no error shows a key."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.reward.oracle.served import client
from contraflow.reward.oracle.served.oracle import check_served, open_served
from contraflow.settings.served import ServedConfig
from support.served import FEW_SHOT, StandIn, opened, stand_in
from support.served_text import Fault, answer_to

KEY = "sk-secret-1234567890"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    for name in ("OPENAI_API_KEY", "CONTRAFLOW_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def ask(server: StandIn, faults: list[Fault], **settings: Any) -> Any:
    """Open, then play the faults and ask two questions, one after the other."""
    answerer = opened(server, concurrency=1, **settings)
    server.behavior.faults = list(faults)
    answers = answerer.oracle("bare").answer(["who ?", "what ?"])
    assert [answer.text for answer in answers] == [answer_to("who ?"), answer_to("what ?")]
    return answerer


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503),
        Fault(status=429),
        Fault(status=408),
        Fault("reset"),
        Fault("cut"),
        Fault("page"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_fault_that_passes_is_tried_again(fault: Fault):
    with stand_in() as server:
        answerer = ask(server, [fault, fault])
        assert answerer.usage.retries == 2


@pytest.mark.parametrize("kind", ["hang", "dribble"])
def test_a_request_has_a_time_limit(kind: str):
    with stand_in() as server:
        started = time.monotonic()
        answerer = ask(server, [Fault(kind)], timeout_s=0.2)
        assert time.monotonic() - started < 5
        assert answerer.usage.retries == 1


def _interrupt_once_all_hang(server: StandIn, interrupted: list[float]) -> None:
    """Send SIGINT to the main thread when every fault is in use, and note the time."""
    deadline = time.monotonic() + 20
    while server.behavior.faults and time.monotonic() < deadline:
        time.sleep(0.01)
    main = threading.main_thread().ident
    assert main is not None
    interrupted.append(time.monotonic())
    signal.pthread_kill(main, signal.SIGINT)


def test_ctrl_c_ends_the_requests_in_flight():
    with stand_in() as server:
        oracle = opened(server).oracle("bare")
        server.behavior.faults = [Fault("hang")] * 3
        interrupted: list[float] = []
        threading.Thread(target=_interrupt_once_all_hang, args=(server, interrupted)).start()
        with pytest.raises(KeyboardInterrupt):
            oracle.answer(["who ?", "what ?", "how ?"])
        assert time.monotonic() - interrupted[0] < 5
        assert oracle.answer(["who ?"])[0].text == answer_to("who ?")


def test_retry_after_is_waited_for():
    with stand_in() as server:
        started = time.monotonic()
        ask(server, [Fault(status=429, headers={"Retry-After": "0.3"})])
        assert time.monotonic() - started >= 0.3


def test_retry_after_holds_for_all_requests():
    with stand_in() as server:
        answerer = opened(server, concurrency=2)
        oracle = answerer.oracle("bare")
        server.behavior.faults = [Fault(status=429, headers={"Retry-After": "0.3"})]
        before = len(server.bodies)
        started = time.monotonic()
        oracle.answer([f"who {i} ?" for i in range(4)])
        assert time.monotonic() - started >= 0.3
        assert len(server.bodies) - before == 5


def test_retry_after_beyond_the_patience_is_not_waited_for():
    with stand_in() as server:
        started = time.monotonic()
        with pytest.raises(UserError, match="asks to wait 600 s more; answers so far are kept"):
            ask(server, [Fault(status=429, headers={"Retry-After": "600"})], patience_s=1)
        assert time.monotonic() - started < 1


def test_patience_ends_with_the_last_reason():
    with stand_in() as server, pytest.raises(UserError) as caught:
        ask(server, [Fault(status=503, message="loading")] * 99, patience_s=0.1)
    message = str(caught.value)
    assert "last with status 503: loading" in message
    assert "oracle.served.patience_s" in message
    assert "\n" not in message


def test_a_long_wait_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(client, "_SILENT_S", 0.0)
    with stand_in() as server:
        ask(server, [Fault(status=503, message="loading")] * 3)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "status 503: loading; trying again for up to 300 s" in printed


def test_an_answer_beside_a_failure_is_kept():
    with stand_in() as server:
        oracle = opened(server, concurrency=1).oracle("bare")
        questions = ["who ?", "what ?", "how ?"]
        oracle.answer(questions[:1])
        server.behavior.faults = [Fault(status=400, message="too odd")]
        with pytest.raises(UserError, match="status 400: too odd"):
            oracle.answer(questions)
        assert list(oracle.answered(questions)) == ["who ?"]
        assert [a.text for a in oracle.answer(questions)] == [answer_to(q) for q in questions]


def test_an_exhausted_quota_is_not_tried_again():
    with stand_in() as server:
        answerer = opened(server)
        server.behavior.faults = [Fault(status=429, code="insufficient_quota")]
        with pytest.raises(UserError, match="quota is used up"):
            answerer.oracle("bare").answer(["who ?"])
        assert answerer.usage.retries == 0


def test_the_limit_on_requests_stops_and_keeps_answers():
    """Opening takes 4 requests: two equal ones, a stop and an echo; the limit leaves two more."""
    with stand_in() as server:
        oracle = opened(server, max_requests=6).oracle("bare")
        questions = [f"who is {i} ?" for i in range(5)]
        with pytest.raises(UserError) as caught:
            oracle.answer(questions)
        assert str(caught.value).startswith("oracle.served.max_requests=6 is used up after 6 requ")
        assert "answers so far are kept" in str(caught.value)
        assert len(oracle.answered(questions)) == 2
        assert len(server.bodies) == 6


def test_the_limit_on_tokens_counts_requests_in_flight():
    with stand_in(delay_s=0.01) as server:
        used = opened(server).usage.tokens
        limit = used + 60
        answerer = opened(server, max_tokens_total=limit, concurrency=8)
        oracle = answerer.oracle("completion")
        questions = [f"who is {i} ?" for i in range(20)]
        with pytest.raises(UserError, match=r"oracle\.served\.max_tokens_total=.*is used up"):
            oracle.answer(questions)
        assert used < answerer.usage.tokens <= limit
        assert 0 < len(oracle.answered(questions)) < 20


def test_a_repeated_request_counts_against_the_limit():
    with stand_in() as server, pytest.raises(UserError, match=r"max_requests=8.*\(3 repeated\)"):
        ask(server, [Fault(status=500)] * 9, max_requests=8)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("call", ["check", "open"])
def test_an_endpoint_that_nobody_answers(call: str):
    source = f"openai:http://127.0.0.1:{closed_port()}/v1#m"
    with pytest.raises(UserError, match=r"nobody answers at http://127.* start the server or corr"):
        if call == "check":
            check_served(source)
        else:
            open_served(source, settings=ServedConfig(), few_shot=FEW_SHOT, max_answer_tokens=5)


def test_an_unknown_model_lists_what_there_is():
    models = tuple({"id": f"model-{i}"} for i in range(10))
    with stand_in(models=models) as server, pytest.raises(UserError) as caught:
        check_served(f"openai:{server.url}#modle")
    assert "has no model 'modle'; it has model-0, model-1," in str(caught.value)
    assert "model-7 and 2 more" in str(caught.value)


def test_an_unknown_model_without_a_list():
    with (
        stand_in(lists_models=False) as server,
        pytest.raises(UserError, match="does not know the model 'modle' or the path"),
    ):
        check_served(f"openai:{server.url}#modle")


def test_a_missing_key_is_asked_for():
    with stand_in(key=KEY) as server, pytest.raises(UserError) as caught:
        check_served(server.source)
    assert "wants a key; set CONTRAFLOW_API_KEY or OPENAI_API_KEY (401)" in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"pip install 'contraflow\[served\]'"):
        check_served("openai:http://127.0.0.1:1/v1#m")


def test_the_key_goes_to_the_server_alone(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    """The server repeats the key in its messages; neither errors nor logs nor texts show it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    seen: list[str] = []
    with stand_in(key=KEY) as server:
        answerer = opened(server)
        oracle = answerer.oracle("bare")
        oracle.answer(["who ?"])
        assert server.keys == {KEY}
        seen += [repr(x) for x in (answerer, oracle, vars(answerer), vars(oracle), answerer.usage)]
        seen += [answerer.identity, oracle.identity, repr(vars(answerer._client))]
        for fault in (
            Fault(status=400, message=f"your key {KEY} is odd"),
            Fault(status=403, message=f"not for {KEY}"),
            Fault("reset"),
            Fault("hang"),
        ):
            server.behavior.faults = [fault] * 20
            with pytest.raises(UserError) as caught:
                opened(server, patience_s=0, timeout_s=0.2)
            seen += ["".join(traceback.format_exception(caught.value)), caught.value.detail]
        server.behavior.key = "another"
        with pytest.raises(UserError, match=r"refuses the key in OPENAI_API_KEY; .*\(401\)"):
            check_served(server.source)
    seen += [caplog.text, *capfd.readouterr()]
    assert not [text for text in seen if KEY in text]


def test_the_programs_own_variable_goes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("CONTRAFLOW_API_KEY", "mine")
    with stand_in() as server:
        check_served(server.source)
        assert server.keys == {"mine"}


def test_an_empty_own_variable_keeps_the_other_key_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("CONTRAFLOW_API_KEY", "")
    with stand_in() as server:
        check_served(server.source)
        assert server.keys == {"none"}
