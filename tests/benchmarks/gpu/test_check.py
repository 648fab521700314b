"""The check of the fast paths, at a tiny size on a CPU: it passes, and it can fail."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.gpu import check
from benchmarks.gpu.check import Row
from contraflow.models.capture import Recording
from contraflow.policy import lora
from contraflow.reward.judge import recorded

pytestmark = pytest.mark.filterwarnings("ignore")
QUANTITIES = ["logits", "draws", "answers", "log P_Q of a token", "log P_F of a token", "gradient"]


def rows_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[list[str]]]:
    words = ["check", "--tiny", "--device", "cpu", "--dtype", "float32"]
    monkeypatch.setattr(sys, "argv", words)
    code = check.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if " float32 " in line]
    return code, [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_all_fast_paths_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = rows_of(monkeypatch, capsys)
    assert code == 0
    assert [row[0] for row in rows] == [*QUANTITIES, "judge"]
    assert {row[4] for row in rows} == {"ok"}


def test_a_wrong_gradient_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fast path's gradient is off by 1 %; nothing else is."""

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(_ctx: object, grad: Tensor) -> Tensor:
            return 1.01 * grad

    right = lora.action_log_probs

    def wrong(*args: object) -> tuple[Tensor, Tensor]:
        taken, stop = right(*args)  # type: ignore[arg-type]
        return Scaled.apply(taken), stop

    monkeypatch.setattr(lora, "action_log_probs", wrong)
    code, rows = rows_of(monkeypatch, capsys)
    assert code == 1
    assert [row[0] for row in rows if row[4] == "WRONG"] == ["gradient"]


def test_a_judge_that_is_not_replayed_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replays repeat what was computed when they were recorded, so the judge drops them."""

    def stale(step: Callable[[], None], *_: object) -> Recording:
        step()
        return Recording(lambda: None)

    monkeypatch.setattr(recorded, "captured", stale)
    code, rows = rows_of(monkeypatch, capsys)
    assert code == 1
    assert [row[0] for row in rows if row[4] == "WRONG"] == ["judge"]


def test_what_is_not_a_number_is_wrong() -> None:
    assert not Row("judge", torch.float32, math.nan, 1.0, 0.0).is_right
