"""Penalties of residuals: what a bound is needed for, and who has no residuals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contraflow.errors import UserError
from contraflow.settings import ObjectiveConfig
from support.cli import Result, assert_one_error

Call = Callable[..., Result]


@pytest.mark.parametrize("bound", [None, 1.0])
def test_a_policy_gradient_is_not_asked_for_a_bound(bound: float | None) -> None:
    """It asked for one, and then refused the penalty."""
    with pytest.raises(UserError, match=r"^objective.penalty=huber: must be square with .*rloo"):
        ObjectiveConfig(name="rloo", penalty="huber", bound=bound)


def test_huber_shows_how_a_bound_is_set() -> None:
    with pytest.raises(UserError) as caught:
        ObjectiveConfig(penalty="huber")
    assert str(caught.value) == (
        "objective.bound=None: must be set with huber, such as objective.bound=1"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("objective=vargrad", "penalty=huber"), "error: bound=None: must be set with huber, such"),
        (
            ("objective=rloo", "penalty=huber"),
            "error: penalty=huber: must be square with obj",
        ),
        (("objective=rloo", "bound=1"), "error: bound=1.0: must be null with objective=rloo"),
        (("objective=tb", "forward_kl=2"), "error: forward_kl=2.0: must be from 0 to 1"),
    ],
)
def test_exact_names_its_own_arguments(
    contraflow: Call, words: tuple[str, ...], message: str
) -> None:
    result = contraflow("exact", *words)
    assert_one_error(result, message)
    assert "objective." not in result.err
