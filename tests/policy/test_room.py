"""A question that cannot fit into the model's context is refused by its key."""

from __future__ import annotations

import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.policy.room import check_room
from contraflow.text.prompts import task_prompt
from support.models import fresh_lm

# Words of the tiny tokenizer: 7 in the header, then 2 and 2 around the fact.
PROMPT = task_prompt("fact : the capital of rome :\nfact : {edit_fact}\nask :")
FITS = 64 - 7 - 4 - 1  # positions, header, body without a fact, stop


def test_a_question_longer_than_the_context_is_refused() -> None:
    lm = fresh_lm(positions=64)
    check_room(lm, PROMPT, FITS)
    with pytest.raises(UserError) as caught:
        check_room(lm, PROMPT, FITS + 1)
    assert str(caught.value) == (
        f"policy.max_question_len={FITS + 1}: the model reads 64 tokens at once, and prompt.task "
        f"takes 11 of them without a fact; give at most {FITS}, less the tokens of your facts"
    )


def test_a_prompt_without_room_for_a_question_is_blamed() -> None:
    with pytest.raises(UserError, match=r"shorten prompt\.task$"):
        check_room(fresh_lm(positions=12), PROMPT, 1)


def test_a_fact_that_leaves_no_room_names_the_key_too() -> None:
    """The question may be what is too long, and not the fact."""
    lm = fresh_lm(positions=64)
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=FITS)
    policy = LoraPolicy(lm, PROMPT, constraints, None)
    fact = Fact(fact_id="1", subject="rome", edit_fact="rome is the capital")
    with pytest.raises(
        UserError, match=rf"fact 1: .* the prompt or policy.max_question_len={FITS}$"
    ):
        policy.encode([fact])
