"""The distinct states of some questions, numbered in host memory and sent to the device at once.

States form a tree: every state but a root is reached by one action from one state. So log P_F of a
question's tokens is read at the states that they lead to, and a state that many questions share is
computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from contraflow.models.token_tree import HostTree, TokenTree
from contraflow.models.transfer import packed_to_device
from contraflow.policy.constraints import Constraints


@dataclass(frozen=True)
class Actions:
    """The e actions that lead from one of m states to another, in the order of their states."""

    at: Int[Tensor, " e"]  # the state at which the action is taken
    column: Int[Tensor, " e"]  # its column, of the allowed actions
    host_at: Int[ndarray, " e"]  # `at` in host memory

    def cuts(self, starts: Sequence[int]) -> list[int]:
        """The first action at each of some states or later."""
        found: list[int] = np.searchsorted(self.host_at, starts).tolist()
        return found


@dataclass(frozen=True)
class QuestionStates:
    """m distinct states of b questions of at most t tokens, on the device.

    tree: prompts and questions; nodes: of each state, its flat node in the tree.
    step: question tokens written at each state.
    into: of each token, its number in `actions`; e past the end.
    along: the states s_0 … s_L of each question; m past the end.
    """

    tree: TokenTree
    nodes: Int[Tensor, " m"]
    step: Int[Tensor, " m"]
    actions: Actions
    into: Int[Tensor, "b t"]
    along: Int[Tensor, "b t+1"]
    lengths: Int[Tensor, " b"]

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        questions: Sequence[Sequence[int]],
        width: int,
        constraints: Constraints,
        device: torch.device,
        *,
        multiple: int = 1,
    ) -> QuestionStates:
        """Number the states of b questions, each behind its prompt; ``width`` is t.

        The rows of the tree have a ``multiple`` of so many nodes.

        Raises: ValueError when a token is not an action.
        """
        rows = zip(prompts, questions, strict=True)
        tree = HostTree.of([[*prompt, *question] for prompt, question in rows], multiple=multiple)
        lengths = np.array([len(question) for question in questions])
        start = np.array([len(prompt) - 1 for prompt in prompts])
        numbers = _number(tree, start, lengths, width)
        columns = _columns(questions, width, constraints)
        at, column, into = _actions(numbers, lengths, columns)
        host = [numbers.nodes, numbers.step, at, column, into, numbers.along, lengths]
        moved = packed_to_device([*tree.arrays, *host], device)
        n = len(tree.arrays)
        nodes, step, device_at, device_column, device_into, along, device_lengths = moved[n:]
        return cls(
            TokenTree(*moved[:n]),
            nodes,
            step,
            Actions(device_at, device_column, at),
            device_into,
            along,
            device_lengths,
        )


@dataclass(frozen=True)
class _Numbers:
    nodes: Int[ndarray, " m"]
    step: Int[ndarray, " m"]
    along: Int[ndarray, "b t+1"]


def _number(
    tree: HostTree, start: Int[ndarray, " b"], lengths: Int[ndarray, " b"], width: int
) -> _Numbers:
    """Number the distinct (node, step): s_k is k tokens after the prompt's last node."""
    steps = np.arange(width + 1)
    places = np.minimum(start[:, None] + steps, tree.paths.shape[1] - 1)
    states = np.take_along_axis(tree.paths, places, 1) * (width + 1) + steps
    on_path = steps <= lengths[:, None]
    distinct, number = np.unique(states[on_path], return_inverse=True)
    along = np.full(states.shape, len(distinct))
    along[on_path] = number
    return _Numbers(distinct // (width + 1), distinct % (width + 1), along)


def _columns(
    questions: Sequence[Sequence[int]], width: int, constraints: Constraints
) -> Int[ndarray, "b t"]:
    """The columns of the questions' tokens; 0 past the end."""
    columns = np.zeros((len(questions), width), dtype=np.int64)
    for row, question in enumerate(questions):
        columns[row, : len(question)] = constraints.columns_of(question)
    return columns


def _actions(
    numbers: _Numbers, lengths: Int[ndarray, " b"], columns: Int[ndarray, "b t"]
) -> tuple[Int[ndarray, " e"], Int[ndarray, " e"], Int[ndarray, "b t"]]:
    """The state and column of every action, sorted by state; and the action of every token."""
    is_token = np.arange(columns.shape[1]) < lengths[:, None]
    child = numbers.along[:, 1:][is_token]
    parent_of = np.zeros(len(numbers.nodes), dtype=np.int64)
    column_of = np.zeros_like(parent_of)
    parent_of[child] = numbers.along[:, :-1][is_token]
    column_of[child] = columns[is_token]
    children = np.flatnonzero(numbers.step > 0)
    children = children[np.argsort(parent_of[children], kind="stable")]
    number_of = np.zeros_like(parent_of)
    number_of[children] = np.arange(len(children))
    into = np.full(columns.shape, len(children))
    into[is_token] = number_of[child]
    return parent_of[children], column_of[children], into
