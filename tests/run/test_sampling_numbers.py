"""`Run.generate` and `Run.evaluate` refuse numbers of sampling that the command line refuses."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts
from contraflow.run.session import Run, open_run

MADE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run of a tiny model."""
    here = tmp_path_factory.mktemp("run")
    for name in ("whole", "model", "judge"):
        shutil.copytree(MADE / name, here / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        return open_run(here / "whole")


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return read_facts(MADE / "whole" / "test_facts.jsonl")[:1]


BAD_COUNTS: list[tuple[Any, str]] = [
    (0, "at least 1"),
    (-1, "at least 1"),
    (2.5, "a whole number"),
    ("8", "a whole number"),
    (True, "a whole number"),
    (None, "a whole number"),
]


@pytest.mark.parametrize(("n", "needs"), BAD_COUNTS)
def test_a_bad_number_of_questions_is_refused(
    run: Run, facts: list[Fact], n: Any, needs: str
) -> None:
    with pytest.raises(UserError, match=rf"^n={n!r}: must be {needs}"):
        run.generate(facts, n)
    with pytest.raises(UserError, match=rf"^n_samples={n!r}: must be {needs}"):
        run.evaluate(facts, n)


@pytest.mark.parametrize("temperature", [0, -1, 0.0, math.nan, math.inf, "1", None, True])
def test_a_bad_temperature_is_refused(run: Run, facts: list[Fact], temperature: Any) -> None:
    message = rf"^temperature={temperature!r}: must be a number above 0"
    with pytest.raises(UserError, match=message):
        run.generate(facts, 2, temperature=temperature)
    with pytest.raises(UserError, match=message):
        run.evaluate(facts, 2, temperature=temperature)


@pytest.mark.parametrize("seed", [1.5, "1", None, True])
def test_a_bad_seed_is_refused(run: Run, facts: list[Fact], seed: Any) -> None:
    with pytest.raises(UserError, match=rf"^seed={seed!r}: must be a whole number"):
        run.generate(facts, 2, seed=seed)


def test_the_draws_for_a_target_are_counted_too(run: Run, facts: list[Fact]) -> None:
    with pytest.raises(UserError, match=r"^n=0: must be at least 1"):
        run.draw_for_target(facts, 0)
    with pytest.raises(UserError, match=r"^n=1\.5: must be a whole number"):
        run.estimate_target([], {}, 1.5)  # type: ignore[arg-type]


def test_a_whole_number_of_numpy_is_taken(run: Run, facts: list[Fact]) -> None:
    assert len(list(run.generate(facts, np.int64(2), temperature=np.float32(1)))) == 2
