"""Arrays that travel together keep their values, types and shapes."""

from __future__ import annotations

import numpy as np
import torch

from contraflow.models.transfer import HostCopy, packed_to_device, to_device

ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.array([True, False, True]),
    np.zeros((0, 4), dtype=np.int64),
    np.array([0.5, -2.0], dtype=np.float32),
    np.arange(5)[::-1],  # not contiguous
]


def test_on_a_cpu_the_memory_is_shared() -> None:
    (tensor,) = packed_to_device([ARRAYS[0]], "cpu")
    assert tensor.data_ptr() == ARRAYS[0].ctypes.data


def test_a_block_holds_each_array(monkeypatch) -> None:
    """The path of other devices, on a device that is a CPU by another name."""
    sent: list[torch.Tensor] = []

    def send(host: torch.Tensor, _device: object) -> torch.Tensor:
        sent.append(host)
        return host.clone()

    monkeypatch.setattr("contraflow.models.transfer.to_device", send)
    found = packed_to_device(ARRAYS, "meta")
    assert len(sent) == 1
    for tensor, array in zip(found, ARRAYS, strict=True):
        assert tensor.tolist() == array.tolist() and tuple(tensor.shape) == array.shape
    assert [t.dtype for t in found[:2]] == [torch.int64, torch.bool]


def test_a_host_tensor_goes_where_it_is_sent() -> None:
    x = torch.arange(3)
    assert to_device(x, None) is x and to_device(x, "cpu") is x
    assert to_device(x, torch.device("meta")).device.type == "meta"


def test_a_host_copy_is_of_the_moment_it_was_made() -> None:
    x = torch.arange(3)
    copy = HostCopy(x)
    x.zero_()
    assert copy.wait().tolist() == [0, 1, 2]
