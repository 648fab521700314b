"""What stops an audit: a null edit, and a control that knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contraflow.auditing.asking.gates import check_answers_differ, check_identities, check_knowledge
from contraflow.errors import UserError
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


def test_a_control_that_knows_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="knows none of the 12 original facts"):
        check_knowledge(0, 12)
    assert check_knowledge(12, 12).passed
    assert not check_knowledge(11, 12).passed


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
