"""What is switched off, and said, where a server ignores or refuses a field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.reward.oracle.served.oracle import check_served
from support.served import expected, opened, stand_in
from support.served_text import answer_to

QUESTIONS = ["who is hamlet ?", "where is rome ?", "what ?"]


def test_ignored_echo_means_no_teacher_forcing():
    with stand_in(echo=False) as server:
        answerer = opened(server)
        assert answerer.forced(["a"], ["b"]) is None
        assert answerer.oracle("bare").answer(["who ?"]) == [expected("who ?")]


def test_a_wrong_reading_alone_is_switched_off(capsys: pytest.CaptureFixture[str]):
    """Read back, no token is the most likely one, which those of a greedy answer are."""
    with stand_in(shifted_echo=True) as server:
        answerer = opened(server)
        assert answerer.forced(["a"], ["b"]) is None
        assert answerer.oracle("bare").answer(["who ?"]) == [expected("who ?")]
        assert "texts read back: no teacher forcing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"logprobs": False}, "gives no token log-probabilities: no log P"),
        ({"zero_logprobs": True}, "log-probabilities are all 0"),
        ({"wrong_echo": True}, "differ when it reads its own answer back"),
        ({"refuses": ("logprobs",)}, "gives no token log-probabilities: no log P"),
    ],
)
def test_wrong_log_probabilities_are_switched_off(
    fault: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
):
    with stand_in(**fault) as server:
        answerer = opened(server)
        (answer,) = answerer.oracle("few_shot").answer(["who ?"])
        assert answer.text == answer_to("who ?")
        assert math.isnan(answer.log_p)
        assert answerer.forced(["a"], ["b"]) is None
        printed = capsys.readouterr().err
        assert line in printed
        assert printed.count("\n") == len(answerer.notes) == 1


def test_ignored_stop_is_said_and_the_answer_cut(capsys: pytest.CaptureFixture[str]):
    with stand_in(stop=False) as server:
        answers = opened(server).oracle("few_shot").answer(QUESTIONS)
        assert answers == [expected(q) for q in QUESTIONS]
        assert "ignores stop" in capsys.readouterr().err


def test_ignored_max_tokens_is_said(capsys: pytest.CaptureFixture[str]):
    with stand_in(max_tokens=False) as server:
        assert opened(server).oracle("few_shot").answer(["who ?"]) == [expected("who ?")]
        assert "ignores max_tokens" in capsys.readouterr().err


def test_answers_that_vary_are_said(capsys: pytest.CaptureFixture[str]):
    with stand_in(varies=True) as server:
        opened(server)
        assert "two equal requests got different answers" in capsys.readouterr().err


def test_a_good_server_gets_no_line(capsys: pytest.CaptureFixture[str]):
    with stand_in() as server:
        assert opened(server).notes == ()
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["stop", "top_p", "max_tokens"])
def test_a_refused_field_is_left_out(name: str):
    with stand_in(refuses=(name,)) as server:
        (answer,) = opened(server).oracle("few_shot").answer(["who ?"])
        assert answer.text == answer_to("who ?")
        assert name not in server.bodies[-1]


def test_a_model_that_cannot_be_greedy_is_refused():
    with (
        stand_in(refuses=("temperature",)) as server,
        pytest.raises(UserError, match="must answer greedily"),
    ):
        opened(server)


def test_a_field_that_only_the_chat_refuses():
    with stand_in(completions=False, refuses=("top_logprobs",)) as server:
        (answer,) = opened(server).oracle("few_shot").answer(["who ?"])
        assert answer == expected("who ?")
        assert "top_logprobs" not in server.bodies[-1]


@pytest.mark.parametrize(
    ("behavior", "has_log_p"),
    [
        ({}, True),
        ({"completions": False}, True),
        ({"completions": False, "refuses": ("top_logprobs",)}, True),
        ({"logprobs": False}, False),
        ({"refuses": ("logprobs",)}, False),
        ({"completions": False, "logprobs": False}, False),
    ],
)
def test_the_early_check_finds_missing_log_p(behavior: dict[str, Any], *, has_log_p: bool):
    """One token is asked for, with a try for each refused field; a text alone needs no log P."""
    with stand_in(**behavior) as server:
        check_served(server.source)
        before = len(server.bodies)
        if has_log_p:
            check_served(server.source, needs_log_p=True)
        else:
            with pytest.raises(
                UserError, match=r"gives no token log-prob.*choose another"
            ) as found:
                check_served(server.source, needs_log_p=True)
            assert str(found.value).startswith(f"oracle.name={server.source}: ")
        assert len(server.bodies) - before <= 3
        assert all(body["max_tokens"] == 1 for body in server.bodies)
