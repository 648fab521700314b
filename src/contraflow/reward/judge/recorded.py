"""A judge's network on a GPU: recorded once per shape as a CUDA graph, and replayed.

A judge of 24 layers starts some 1,500 small kernels, and starting them takes the host longer than
running them takes the GPU. Shapes are rounded up (`ROUNDING`), so that there are few of them; one
that comes up a second time is recorded. The first replay of each shape is compared with the network
itself; where they differ, nothing is recorded any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from contraflow.models.capture import CaptureFailed, captured, first_line
from contraflow.models.recordings import Recordings
from contraflow.reward.judge.scoring import Batch, Network, Rounding
from contraflow.system.progress import print_plain

ROUNDING = Rounding(tokens=16, rows=(8, 16, 32))

# By how many nats a replay may differ from the network, in the precision of its weights.
ROUNDING_ERROR = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}

_Shape = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Recording:
    inputs: Batch
    run: Callable[[], None]
    out: list[Tensor]  # holds the one output
    pool: Any


class RecordedNetwork:
    """A network that is replayed where it can be recorded, and run as it is elsewhere.

    Args:
        dtype: of the network's weights.
        always: record on other devices too, where a recording only runs again: for tests.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        always: bool = False,
    ) -> None:
        self._network = network
        self._device = device
        self._rounding_error = ROUNDING_ERROR.get(dtype, 0.0)
        self._records = always or device.type == "cuda"
        self._seen: set[_Shape] = set()
        self._recordings: Recordings[_Shape, _Recording] = Recordings()

    @property
    def has_recordings(self) -> bool:
        """Whether a shape has been recorded, and no recording was wrong or refused."""
        return len(self._recordings) > 0

    def __call__(self, batch: Batch) -> Float[Tensor, "b 3"]:
        """The network's output; in memory of its own."""
        self._recordings.next_pass()
        shape = tuple((name, tuple(tensor.shape)) for name, tensor in batch.items())
        if not self._records or shape not in self._seen:
            self._seen.add(shape)
            return self._network(batch)
        recording = self._recordings.get(shape) or self._record(shape, batch)
        if recording is None:
            return self._network(batch)
        return _replayed(recording, batch)

    def _record(self, shape: _Shape, batch: Batch) -> _Recording | None:
        """Record a shape; None where all others are in use and, said once, where the GPU refuses
        or replays something else.
        """
        if not self._recordings.make_room():
            return None
        try:
            recording = self._new_recording(batch)
            self._recordings.keep(shape, recording)
            self._compare(recording, batch)
        except (CaptureFailed, torch.OutOfMemoryError) as error:
            self._records = False
            self._recordings.drop()
            reason = first_line(error)[:120]
            print_plain(f"the judge runs without CUDA graphs, which is slower ({reason})")
            return None
        return recording

    def _new_recording(self, batch: Batch) -> _Recording:
        # The rows are in another order than in the batch, with which the recording is compared:
        # that shows values which a recording has kept instead of reading them.
        inputs = {name: tensor.roll(1, 0) for name, tensor in batch.items()}
        out: list[Tensor] = []

        def step() -> None:
            out[:] = [self._network(inputs)]

        pool = next((r.pool for r in self._recordings.made), None)
        recording = captured(step, self._device, pool)
        return _Recording(inputs, recording.run, out, recording.pool)

    def _compare(self, recording: _Recording, batch: Batch) -> None:
        """Raise CaptureFailed where a replay is not what the network says. Waits for the GPU."""
        # The network first: it overwrites memory that a recording may read after it was freed.
        plain = self._network(batch)
        replayed = _replayed(recording, batch)
        if not torch.allclose(replayed, plain, rtol=0, atol=self._rounding_error, equal_nan=True):
            difference = float((replayed - plain).abs().max())
            raise CaptureFailed(f"a recording differs from the network by {difference:.1e} nats")


def _replayed(recording: _Recording, batch: Batch) -> Float[Tensor, "b 3"]:
    for name, tensor in batch.items():
        recording.inputs[name].copy_(tensor)
    recording.run()
    return recording.out[0].clone()


def remember_positions(model: nn.Module) -> None:
    """Make DeBERTa compute the relative positions of a length once.

    They depend on the length alone. Computing them reads constants from host memory, which waits
    for a GPU, and which no CUDA graph can hold.
    """
    for module in model.modules():
        compute = getattr(module, "get_rel_pos", None)
        if callable(compute):
            cast(Any, module).get_rel_pos = _Remembered(compute)


class _Remembered:
    """`get_rel_pos` of a DeBERTa encoder with its last results, by length."""

    def __init__(self, compute: Callable[..., Tensor | None]) -> None:
        self._compute = compute
        self._known: dict[tuple[int, torch.device], Tensor | None] = {}

    def __call__(
        self, hidden: Tensor, query_states: Tensor | None = None, relative_pos: Any = None
    ) -> Tensor | None:
        if query_states is not None or relative_pos is not None:
            return self._compute(hidden, query_states, relative_pos)
        key = (hidden.shape[-2], hidden.device)
        if key not in self._known:
            self._known[key] = self._compute(hidden)
        return self._known[key]
