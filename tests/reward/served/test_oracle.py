"""Answers, log-probabilities and read-back targets of a served model, from a stand-in server."""

from __future__ import annotations

import asyncio

import pytest

from contraflow.errors import UserError
from contraflow.reward.oracle.served.oracle import check_served, open_served
from contraflow.settings.served import ServedConfig
from contraflow.types import Answer, Forced
from support.served import FEW_SHOT, expected, opened, stand_in
from support.served_text import log_p_of

QUESTIONS = ["who is hamlet ?", "where is rome ?", "what ?"]


def test_answers_and_log_p_in_the_order_of_questions():
    with stand_in() as server:
        answers = opened(server).oracle("few_shot").answer([*QUESTIONS, QUESTIONS[0]])
        assert answers == [expected(q) for q in [*QUESTIONS, QUESTIONS[0]]]
        assert answers[2].log_p == pytest.approx(-0.11 - 0.10 - 0.07 - 0.06)


def test_equal_questions_are_asked_once():
    with stand_in() as server:
        oracle = opened(server).oracle("few_shot")
        before = len(server.bodies)
        oracle.answer(["who ?", "who ?"])
        oracle.answer(["who ?"])
        assert len(server.bodies) == before + 1
        assert oracle.answered(["who ?", "new ?"]).keys() == {"who ?"}


def test_every_value_of_a_request_is_sent():
    with stand_in() as server:
        opened(server, n=7).oracle("few_shot").answer(["who ?"])
        assert server.bodies[-1] == {
            "model": "tiny",
            "prompt": FEW_SHOT.format(question="who ?"),
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 7,
            "stop": ["\n"],
            "logprobs": 1,
        }


def test_bare_and_completion_are_texts_without_examples():
    with stand_in() as server:
        answerer = opened(server)
        answerer.oracle("bare").answer(["who ?"])
        assert server.bodies[-1]["prompt"] == "Question: who ?\nAnswer:"
        answerer.oracle("completion").answer(["The city is"])
        assert server.bodies[-1]["prompt"] == "The city is"


def test_a_chat_is_asked_without_stop_and_read_whole():
    with stand_in() as server:
        answer = opened(server, n=6).oracle("chat").answer(["who ?"])[0]
        body = server.bodies[-1]
        assert body["messages"] == [{"role": "user", "content": "who ?"}]
        assert "stop" not in body
        assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
        assert answer == Answer(
            "reply who ? Question: more0",
            pytest.approx(log_p_of([" reply", " who", " ?", "\n", "Question:", " more0"])),
        )


def test_examples_are_turns_where_there_is_only_a_chat(capsys: pytest.CaptureFixture[str]):
    with stand_in(completions=False) as server:
        answerer = opened(server)
        answers = answerer.oracle("few_shot").answer(QUESTIONS)
        assert answers == [expected(q) for q in QUESTIONS]
        turns = [(turn["role"], turn["content"]) for turn in server.bodies[-1]["messages"]]
        assert turns[:-1] == [
            ("user", "who ?"),
            ("assistant", "me ."),
            ("user", "how ?"),
            ("assistant", "so ."),
        ]
        assert answerer.forced(["a"], ["b"]) is None
        assert "has only a chat" in capsys.readouterr().err


def test_a_text_is_completed_by_request_in_a_chat():
    with stand_in(completions=False) as server:
        opened(server).oracle("completion").answer(["The city is"])
        (turn,) = server.bodies[-1]["messages"]
        assert turn["content"].startswith("Complete this text.")
        assert turn["content"].endswith("\n\nThe city is")


def test_a_prompt_without_examples_to_cut_is_one_turn():
    with stand_in(completions=False) as server:
        answerer = open_served(
            server.source,
            settings=ServedConfig(),
            few_shot="Be brief.\n{question}",
            max_answer_tokens=5,
        )
        answerer.oracle("few_shot").answer(["who ?"])
        assert server.bodies[-1]["messages"] == [{"role": "user", "content": "Be brief.\nwho ?"}]


def test_a_server_without_chat_refuses_the_style():
    with stand_in(chat=False) as server:
        answerer = opened(server)
        with pytest.raises(UserError, match=r"ask=chat: .* does not chat"):
            answerer.oracle("chat")
        assert answerer.oracle("bare").answer(["who ?"]) == [expected("who ?")]


def test_many_requests_are_in_flight_up_to_the_limit():
    with stand_in() as server:
        oracle = opened(server, concurrency=4).oracle("bare")
        server.behavior.delay_s = 0.2  # long enough for the others to arrive on a busy machine
        questions = [f"who is number {i} ?" for i in range(12)]
        assert oracle.answer(questions) == [expected(q) for q in questions]
        assert server.most_in_flight == 4


def test_a_notebook_with_a_running_loop_can_ask():
    async def cell() -> list[Answer]:
        return opened(server).oracle("bare").answer(["who ?"])

    with stand_in() as server:
        assert asyncio.run(cell()) == [expected("who ?")]


def test_usage_counts_every_request_and_token():
    with stand_in() as server:
        answerer = opened(server)
        before = answerer.usage.as_dict()
        answerer.oracle("completion").answer(["to be or", "not to be"])
        usage = answerer.usage
        assert usage.requests - before["requests"] == 2
        assert usage.prompt_tokens - before["prompt_tokens"] == 3 + 3
        assert usage.completion_tokens - before["completion_tokens"] == 5 + 5
        assert usage.requests == len(server.bodies)
        assert usage.seconds > 0
        assert not usage.estimated


def test_usage_is_estimated_where_the_server_counts_nothing():
    """ "to be or" has 8 bytes: 2 tokens at 4 bytes each; the answer's tokens are listed."""
    with stand_in(usage=False) as server:
        answerer = opened(server)
        prompt, written = answerer.usage.prompt_tokens, answerer.usage.completion_tokens
        answerer.oracle("completion").answer(["to be or"])
        assert answerer.usage.prompt_tokens == prompt + 2
        assert answerer.usage.completion_tokens == written + 5
        assert answerer.usage.estimated
        assert "about" in str(answerer.usage)


def test_targets_are_read_behind_prompts():
    """Tokens that begin with an x are not the most likely ones here."""
    with stand_in() as server:
        answerer = opened(server)
        prompts = ["The capital of Norway is ", "The capital is"]
        assert answerer.forced(prompts, ["Oslo xtown", " Rome"]) == [
            Forced(pytest.approx(log_p_of([" Oslo", " xtown"])), 1, 2),
            Forced(pytest.approx(log_p_of([" Rome"])), 1, 1),
        ]
        n_sent = len(server.bodies)
        assert answerer.forced(prompts[:1], ["Oslo xtown"])[0].n_tokens == 2
        assert len(server.bodies) == n_sent


def test_targets_are_found_where_tokens_are_no_characters():
    """The tokens' texts do not add up, so the prompt is read alone: 3 tokens, then the target's."""
    with stand_in(broken_characters=True) as server:
        answerer = opened(server)
        (forced,) = answerer.forced(["São Paulo is"], ["größer heute"])
        assert forced == Forced(pytest.approx(log_p_of([" größer", " heute"])), 2, 2)


def test_identity_is_model_tag_entry_and_prompt():
    base = {"id": "tiny", "created": 1, "root": "/models/tiny"}
    with stand_in(models=(base, {"id": "other@1"})) as server:
        first = opened(server)
        assert opened(server, source=f"openai:{server.url}#other@1").name == "other@1"
        tagged = opened(server, source=server.source + "@after")
        assert tagged.name == "tiny@after"
        assert server.bodies[-1]["model"] == "tiny"
        server.behavior.models = ({**base, "created": 2},)
        later = opened(server)
        server.behavior.models = ({**base, "root": "/models/edited"},)
        edited = opened(server)
    assert first.identity == later.identity
    assert len({first.identity, tagged.identity, edited.identity}) == 3
    styles = [first.oracle(style).identity for style in ("few_shot", "bare", "completion", "chat")]
    assert len(set(styles)) == 4
    assert all(identity.startswith(first.identity) for identity in styles)
    assert first.oracle("bare").identity == later.oracle("bare").identity


def test_the_host_is_not_a_part_of_the_identity():
    with stand_in() as one, stand_in() as two:
        assert one.url != two.url
        assert opened(one).identity == opened(two).identity


def test_check_asks_for_one_token():
    with stand_in() as server:
        model = check_served(server.source)
        assert (model.name, model.known) == ("tiny", ("tiny",))
        assert [body["max_tokens"] for body in server.bodies] == [1]


def test_a_server_without_a_list_of_models_is_asked():
    with stand_in(lists_models=False) as server:
        assert check_served(server.source).known is None
        assert opened(server).oracle("bare").answer(["who ?"]) == [expected("who ?")]
