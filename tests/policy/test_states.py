"""Distinct states of questions, against a slow enumeration of prefixes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contraflow.policy.constraints import Constraints
from contraflow.policy.states import QuestionStates

ACTIONS = Constraints(torch.tensor([5, 3, 9, 1]), 1, 4)
PROMPTS = [[7], [7, 3], [8, 8]]  # the second begins like a question about the first

rows_of_questions = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.sampled_from([5, 3, 9]), max_size=4)),
    min_size=1,
    max_size=12,
)


def states_of(rows: list[tuple[int, list[int]]], width: int = 4) -> QuestionStates:
    prompts = [PROMPTS[fact] for fact, _ in rows]
    return QuestionStates.of(prompts, [q for _, q in rows], width, ACTIONS, torch.device("cpu"))


@settings(max_examples=100, deadline=None)
@given(rows_of_questions)
def test_states_are_the_distinct_prefixes(rows: list[tuple[int, list[int]]]) -> None:
    """Each (fact, tokens so far) is one state; its node spells prompt and tokens."""
    states = states_of(rows)
    tree_ids = states.tree.ids.flatten()
    number: dict[tuple[tuple[int, ...], int], int] = {}
    for row, (fact, question) in enumerate(rows):
        for k in range(len(question) + 1):
            text = (*PROMPTS[fact], *question[:k])
            state = int(states.along[row, k])
            assert number.setdefault((text, k), state) == state
            assert int(states.step[state]) == k
            assert int(tree_ids[states.nodes[state]]) == text[-1]
        assert (states.along[row, len(question) + 1 :] == len(states.nodes)).all()
    assert sorted(number.values()) == list(range(len(states.nodes)))
    assert states.lengths.tolist() == [len(question) for _, question in rows]


@settings(max_examples=100, deadline=None)
@given(rows_of_questions)
def test_every_token_is_an_action_at_its_state(rows: list[tuple[int, list[int]]]) -> None:
    states = states_of(rows)
    actions = states.actions
    for row, (_, question) in enumerate(rows):
        for k, token in enumerate(question):
            action = int(states.into[row, k])
            assert int(actions.at[action]) == int(states.along[row, k])
            assert int(ACTIONS.action_ids[actions.column[action]]) == token
        assert (states.into[row, len(question) :] == len(actions.at)).all()
    assert actions.at.tolist() == sorted(actions.at.tolist()) == actions.host_at.tolist()
    assert len(actions.at) == int((states.step > 0).sum())  # one action leads to each but the roots


def test_cuts_split_the_actions_by_state() -> None:
    """States of 5 3, 5 9 and 3 from one prompt: two actions at the root, two after 5."""
    actions = states_of([(0, [5, 3]), (0, [5, 9]), (0, [3])]).actions
    at = actions.at.tolist()
    for starts in ([0, 1, 2, 5], [0, 5], [0, 3, 5]):
        assert actions.cuts(starts) == [sum(a < start for a in at) for start in starts]


def test_a_token_that_is_no_action_is_refused() -> None:
    with pytest.raises(ValueError, match=r"token ids \[4\] are no actions"):
        states_of([(0, [5, 4])])
