"""A seed is a number that every generator takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from contraflow.errors import UserError
from contraflow.settings import Config
from support.cli import Result, assert_one_error

Call = Callable[..., Result]


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 99999999999999999999])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match=rf"^seed={seed}: must be from -9223372036854775808 to "):
        Config(seed=seed)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, -(2**63)])
def test_torch_takes_every_seed_that_is_accepted(seed: int) -> None:
    torch.Generator().manual_seed(Config(seed=seed).seed)


def test_config_refuses_the_seed_in_one_line(contraflow: Call) -> None:
    assert_one_error(contraflow("config", "seed=99999999999999999999"), "seed=99999999999999999999")


def test_a_sweep_refuses_the_seed_of_its_proposals(contraflow: Call) -> None:
    """NumPy takes 32 bits, and said so when the study was opened."""
    result = contraflow("sweep", "study=s", "vary.seed=1,2", "seed=4294967296")
    assert_one_error(result, "seed=4294967296: must be at most 4294967295")
