"""Collectives between ranks: gather, scatter and broadcast of bytes, all-reduce of tensors.

Everything travels as numeric tensors; structured messages are typed bytes (`messages.py`), so
nothing received is ever unpickled. Bytes go point to point through rank 0, so that a timeout error
can name the rank that was waited for. Gradients go in one all-reduce, by NCCL where every rank has
a GPU of its own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from contraflow.distributed.launch import PEER_LOST
from contraflow.distributed.rank_info import RENDEZVOUS, RankInfo
from contraflow.errors import UserError
from contraflow.system.progress import print_line


class RankTimeout(UserError):
    """A collective timed out; the message names the ranks, the phase and the config key."""


class PeerLost(UserError):
    """Another rank ended first; its own message has the reason."""

    exit_code = PEER_LOST


class Ranks:
    """A process that trains alone: every collective returns its input."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Rank 0 writes and reports, and holds what only one rank needs."""
        return self.rank == 0

    def gather(self, data: bytes, phase: str) -> list[bytes]:  # noqa: ARG002
        """Return every rank's data in rank order on rank 0, an empty list on other ranks."""
        return [data]

    def scatter(self, parts: Sequence[bytes], phase: str) -> bytes:  # noqa: ARG002
        """Return this rank's item of rank 0's ``parts``; other ranks' ``parts`` are ignored."""
        return parts[0]

    def broadcast(self, data: bytes, phase: str) -> bytes:
        """Return rank 0's data on every rank."""
        return self.scatter([data] * self.size, phase)

    def all_reduce(self, value: Tensor, phase: str) -> Tensor:  # noqa: ARG002
        """Return the sum over ranks, bit for bit the same on each."""
        return value

    def broadcast_tensor(self, value: Tensor, phase: str) -> Tensor:  # noqa: ARG002
        """Return rank 0's tensor on every rank."""
        return value

    def close(self) -> None:
        """Leave the process group. Idempotent."""


class RankGroup(Ranks):
    """One of several ranks. The constructor joins the process group, and is collective.

    ``gpu``: this rank's own GPU, if it has one. NCCL is used only if every rank has.

    Raises: RankTimeout and PeerLost, here and from every method.
    """

    def __init__(
        self, info: RankInfo, timeout_s: float, *, gpu: torch.device | None = None
    ) -> None:
        self.rank = info.rank
        self.size = info.size
        self.timeout_s = timeout_s
        self._open = False
        timeout = timedelta(seconds=timeout_s)
        with self._phase("joining", "the other ranks"):
            store = _store(info, timeout)
            dist.init_process_group(
                "gloo", store=store, rank=self.rank, world_size=self.size, timeout=timeout
            )
            self._open = True
        gpu = self._agreed(gpu)
        with self._phase("joining", "the other ranks"):
            if gpu is not None:
                torch.cuda.set_device(gpu)
            self._tensors = None if gpu is None else dist.new_group(backend="nccl", timeout=timeout)
        self._device = torch.device("cpu") if gpu is None else gpu

    def _agreed(self, gpu: torch.device | None) -> torch.device | None:
        """This rank's GPU where every rank has one of its own; None on all ranks otherwise.

        Collective, over gloo. Creating the NCCL group is collective too: if only some ranks called
        it, they would wait for the others until the timeout.
        """
        phase = "agreeing on GPUs"
        claims = self.gather(bytes([gpu is not None]), phase)  # empty on ranks other than 0
        has_own = bool(self.broadcast(bytes([all(map(any, claims))]), phase)[0])
        if claims and not has_own and any(map(any, claims)):
            without = [str(rank) for rank, claim in enumerate(claims) if not any(claim)]
            print_line(
                f"ranks {', '.join(without)} have no GPU of their own: gradients go by gloo on all "
                "ranks, which is slower than NCCL; start at most as many ranks as GPUs on a machine"
            )
        return gpu if has_own else None

    def gather(self, data: bytes, phase: str) -> list[bytes]:
        if not self.is_first:
            self._send(data, 0, phase)
            return []
        return [data, *(self._receive(peer, phase) for peer in range(1, self.size))]

    def scatter(self, parts: Sequence[bytes], phase: str) -> bytes:
        if not self.is_first:
            return self._receive(0, phase)
        for peer in range(1, self.size):
            self._send(parts[peer], peer, phase)
        return parts[0]

    def all_reduce(self, value: Tensor, phase: str) -> Tensor:
        total = value.to(self._device, copy=True)
        with self._phase(phase, "the other ranks"):
            dist.all_reduce(total, group=self._tensors)
        return total.to(value.device)

    def broadcast_tensor(self, value: Tensor, phase: str) -> Tensor:
        copied = value.to(self._device, copy=True)
        with self._phase(phase, "rank 0"):
            dist.broadcast(copied, src=0, group=self._tensors)
        return copied.to(value.device)

    def close(self) -> None:
        if self._open:
            self._open = False
            dist.destroy_process_group()

    def _send(self, data: bytes, peer: int, phase: str) -> None:
        with self._phase(phase, f"rank {peer}"):
            dist.send(torch.tensor([len(data)]), peer)
            if data:
                dist.send(as_tensor(data), peer)

    def _receive(self, peer: int, phase: str) -> bytes:
        with self._phase(phase, f"rank {peer}"):
            length = torch.zeros(1, dtype=torch.long)
            dist.recv(length, peer)
            data = torch.empty(int(length), dtype=torch.uint8)
            if len(data):
                dist.recv(data, peer)
        return as_bytes(data)

    @contextmanager
    def _phase(self, phase: str, peer: str) -> Iterator[None]:
        """Add the phase and the peer to the error of a failed collective."""
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            text = str(error).lower()
            if "timed out" in text or "timeout" in text:
                raise RankTimeout(
                    f"rank {self.rank} waited {self.timeout_s:g} s for {peer} in the phase "
                    f"{phase!r}; if that rank is "
                    "only slow, raise exchange.timeout_s, and resume from the last checkpoint"
                ) from error
            raise PeerLost(
                f"rank {self.rank} lost {peer} in the phase {phase!r}; see what that rank said, "
                "and resume from the "
                "last checkpoint"
            ) from error


def as_tensor(data: bytes) -> Tensor:
    """Bytes as a uint8 tensor."""
    return (
        torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if data
        else torch.empty(0, dtype=torch.uint8)
    )


def as_bytes(data: Tensor) -> bytes:
    """A uint8 tensor as bytes."""
    return data.cpu().numpy().tobytes()


def _store(info: RankInfo, timeout: timedelta) -> Any:
    """The store of addresses, under a prefix that no earlier group or attempt has used."""
    store = _store_of_launcher(os.environ.get(RENDEZVOUS), info.size, timeout)
    store.set_timeout(timeout)
    # torchrun keeps one store over its restarts, with the addresses of ranks that died. On one
    # machine all ranks know the attempt's number; on several they may not (docs/ranks.md).
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if info.one_machine else "0"
    return PrefixStore(f"attempt-{attempt}/group-{next(_groups)}", store)


_groups = itertools.count()


@cache
def _store_of_launcher(path: str | None, size: int, timeout: timedelta) -> Any:
    """The launcher's file, or the store that torchrun provides."""
    url = "env://" if path is None else f"file://{path}?rank=0&world_size={size}"
    try:
        return next(iter(rendezvous(url, timeout=timeout)))[0]
    except ValueError as error:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but the ranks cannot find each other: {error}; start "
            "them with torchrun, "
            "or unset these variables"
        ) from error
