"""What stops an audit: a null edit, and a control that knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contraflow.auditing.asking.ask import inquiries
from contraflow.auditing.asking.gates import check_answers_differ, check_identities, check_knowledge
from contraflow.auditing.asking.standing import NO_CHANGE, NO_NEW_ANSWER, UNKNOWN, Standing
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit
from contraflow.types import Answer, AskStyle, Forced, Oracle
from support.served import opened, stand_in


class Named:
    """An answerer of which only name and identity are read."""

    def __init__(self, name: str, identity: str) -> None:
        self.name = name
        self.identity = identity

    def oracle(self, style: AskStyle) -> Oracle:
        raise NotImplementedError

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced] | None:
        raise NotImplementedError


def test_a_null_edit_is_refused_with_the_usual_reason() -> None:
    control, edited = Named("control", "x"), Named("rome", "x")
    with pytest.raises(UserError, match=r"edited=rome: has the same weights.*restore_after_edit"):
        check_identities(control, [edited], in_prompt=False)
    check_identities(control, [edited], in_prompt=True)
    with pytest.raises(UserError, match=r"edited=b: has the same weights as edited=a"):
        check_identities(control, [Named("a", "y"), Named("b", "y")], in_prompt=False)


def test_equal_answers_are_a_null_edit_too() -> None:
    same = [Answer("Oslo", -0.5)] * 4
    with pytest.raises(UserError, match=r"answers all 4 prompts .* exactly as the control"):
        check_answers_differ("served", same, same)
    changed = [*same[:3], Answer("Bergen", -0.5)]
    gate = check_answers_differ("served", same, changed)
    assert gate.passed and gate.detail.startswith("1 of 4")
    # Other log-likelihoods, equal texts: an edit that is too weak to show, not a null edit.
    assert not check_answers_differ("weak", same, [Answer("Oslo", -0.7)] * 4).passed


def standings(*reasons: str) -> list[Standing]:
    fact = Fact(
        fact_id="h",
        subject="Hamlet",
        edit_fact="Hamlet was written by Marlowe.",
        original_answer="Shakespeare",
        edited_answer="Marlowe",
    )
    edit = Edit(fact=fact, prompt="Hamlet was written by")
    return [Standing(edit, "Shakespeare", "file", why) for why in reasons]


def test_a_control_that_knows_nothing_is_refused_with_what_it_says() -> None:
    texts = ["Hamlet was written by", "Hamlet was written by what?"]
    said = [Answer("the author.", 0.0), Answer("A pen.", 0.0)]
    control = dict(zip(inquiries(texts, ["few_shot"]), said, strict=True))
    with pytest.raises(UserError) as refused:
        check_knowledge(standings(UNKNOWN, UNKNOWN, NO_CHANGE), "few_shot", control)
    message = str(refused.value)
    assert "none of the 3 edits can be counted: the control does not tell" in message
    assert f"(2), {NO_CHANGE} (1)" in message
    assert "asked for 'Shakespeare' it says 'Hamlet was written by': 'the author.', 'H" in message
    assert "give edits a question or paraphrases" in message
    with pytest.raises(UserError, match=r"nothing was edited \(1\)$"):
        check_knowledge(standings(NO_CHANGE), "few_shot", control)


def test_edits_that_are_not_counted_are_named_with_their_reasons() -> None:
    assert check_knowledge(standings("", ""), "few_shot", {}).passed
    gate = check_knowledge(standings("", NO_NEW_ANSWER), "few_shot", {})
    assert not gate.passed
    assert gate.detail == f"1 of 2 original facts; not counted: {NO_NEW_ANSWER} (1)"


def test_a_served_null_edit_is_told_apart_by_a_tag() -> None:
    """Two names would differ; two addresses with one name and nothing else said do not."""
    with stand_in() as first, stand_in() as second:
        control, edited = opened(first), opened(second)
        with pytest.raises(UserError, match=r"its server says the same .*#MODEL@TAG"):
            check_identities(control, [edited], in_prompt=False)
        tagged = opened(second, source=f"{second.source}@v2")
        check_identities(control, [tagged], in_prompt=False)
    same = [Answer("Oslo", -0.5)] * 4
    with pytest.raises(UserError, match=r"the server may not have loaded the edit"):
        check_answers_differ("tiny", same, same, served=True)
