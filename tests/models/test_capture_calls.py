"""What recording calls of `torch.cuda`, in which order, and what a refusal leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from contraflow.models.capture import (
    WARM_UPS,
    CaptureFailed,
    Recording,
    captured,
    captured_in_turn,
    first_line,
)


class StandIn:
    """Records the calls of `torch.cuda` in order; during a capture nothing may be started."""

    def __init__(self, patch: pytest.MonkeyPatch, refuses: bool = False) -> None:
        self.log: list[str] = []

        @contextmanager
        def block(name: str) -> Iterator[None]:
            self.log.append(name)
            if name == "record" and refuses:
                raise RuntimeError("CUDA error: operation not permitted\nand forty more lines")
            try:
                yield
            finally:
                self.log.append(f"end of {name}")
                if name == "record" and sys.exc_info()[0] is not None:
                    # PyTorch ends the capture, which fails after any error in it.
                    raise RuntimeError("CUDA error: capture failed due to a previous error")

        stream = SimpleNamespace(wait_stream=lambda _: self.log.append("wait"))
        patch.setattr(torch.cuda, "set_stream", lambda s: self.log.append(f"back: {s is stream}"))
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: "a new pool")
        patch.setattr(torch.cuda, "current_device", lambda: 1)
        end = "_cuda_endAllocateToPool"
        ended = lambda *given: self.log.append(f"closed: {given}")  # noqa: E731
        patch.setattr(torch._C, end, ended, raising=False)
        patch.setattr(torch.cuda, "Stream", lambda: stream)
        patch.setattr(torch.cuda, "current_stream", lambda: stream)
        patch.setattr(torch.cuda, "device", lambda _: block("device"))
        patch.setattr(torch.cuda, "stream", lambda _: block("beside"))
        patch.setattr(torch.cuda, "graph", lambda *_, **__: block("record"))
        patch.setattr(
            torch.cuda,
            "CUDAGraph",
            lambda: SimpleNamespace(replay=lambda: self.log.append("replay")),
        )


def test_a_step_is_warmed_up_then_captured_once_then_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = StandIn(monkeypatch)
    recording = captured(lambda: cuda.log.append("step"), torch.device("cuda", 1))
    recording.run()
    assert recording.pool == "a new pool"
    warm_up = ["wait", "beside", *["step"] * WARM_UPS, "end of beside", "wait"]
    assert cuda.log == [
        "device",
        *warm_up,
        "record",
        "step",
        "end of record",
        "end of device",
        "replay",
    ]


def test_a_refusal_to_record_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    StandIn(monkeypatch, refuses=True)
    with pytest.raises(CaptureFailed, match=r"^CUDA error: operation not permitted$"):
        captured(lambda: None, torch.device("cuda"))


def test_an_error_in_a_capture_is_named_and_tidied_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own message, not that of the capture's end; the stream of before; the memory closed."""
    cuda = StandIn(monkeypatch)
    runs: list[int] = []

    def step() -> None:
        runs.append(len(runs))
        if len(runs) > WARM_UPS:
            raise RuntimeError("CUDA error: a tensor was read by the host")

    with pytest.raises(CaptureFailed, match=r"^CUDA error: a tensor was read by the host$"):
        captured(step, torch.device("cuda", 1), "the pool of others")
    assert cuda.log[-3:] == [
        "back: True",
        "closed: (1, 'the pool of others')",
        "end of device",
    ]


def test_steps_in_turn_share_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are warmed up in turn before the first is recorded."""
    cuda = StandIn(monkeypatch)
    steps = [lambda: cuda.log.append("forward"), lambda: cuda.log.append("backward")]
    recordings = captured_in_turn(steps, torch.device("cuda"))
    assert [recording.pool for recording in recordings] == ["a new pool"] * 2
    taken = [name for name in cuda.log if name in {"forward", "backward", "record"}]
    recorded = ["record", "forward", "record", "backward"]
    assert taken == ["forward", "backward"] * WARM_UPS + recorded


def test_an_error_without_a_message_has_its_kind() -> None:
    assert first_line(RuntimeError()) == "RuntimeError"


def test_on_a_cpu_a_step_is_itself() -> None:
    step = lambda: None  # noqa: E731
    assert captured(step, torch.device("cpu")) == Recording(step)
