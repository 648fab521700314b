"""The check of the fused attention: it passes the products, and each way to be wrong fails it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from contraflow.models.attention import attention_check
from contraflow.models.attention.attention_check import (
    ROUNDING_ERROR,
    Attended,
    FusedWrong,
    Heads,
    OneToken,
    attention_difference,
    check,
)
from contraflow.models.attention.fused_attention import write_and_attend

CPU = torch.device("cpu")
KINDS = [(4, 4, 16, False), (4, 4, 16, True), (6, 2, 32, True), (2, 1, 64, False)]


def kind(n: int, n_keys: int, dim: int, with_prefix: bool) -> Heads:
    return Heads(CPU, torch.float32, n, n_keys, dim, with_prefix)


@pytest.mark.parametrize("heads", KINDS)
def test_the_products_in_float32_pass(heads: tuple[int, int, int, bool]) -> None:
    assert attention_difference(kind(*heads), write_and_attend) < 1e-5


def in_double(*args: Any) -> Tensor:
    """Products in float64, with weights and means rounded to the dtype: what the kernels do."""
    token = OneToken(*args)
    wanted = Attended.by_products(token)
    write_and_attend(*args)
    b, h = token.query.shape[:2]
    repeats = h // token.keys.shape[1]
    keys, values = wanted.keys.double(), wanted.values.double()
    bias = token.mask.double()
    if token.prefix_keys is not None and token.prefix_values is not None:
        shared = (token.prefix_keys.double(), token.prefix_values.double())
        keys, values = (
            torch.cat([x.expand(b, -1, -1, -1), own], 2)
            for x, own in zip(shared, (keys, values), strict=True)
        )
        bias = torch.nn.functional.pad(bias, (token.prefix_keys.shape[2], 0))
    keys, values = (x.repeat_interleave(repeats, 1) for x in (keys, values))
    scores = token.query.double() @ keys.transpose(2, 3) * token.scale + bias
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    rounded = weights.to(token.query.dtype).double()
    mean = (rounded @ values) / weights.sum(-1, keepdim=True)
    return mean.to(token.query.dtype).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("heads", KINDS)
def test_rounding_of_weights_and_means_stays_in_the_bound(
    heads: tuple[int, int, int, bool], dtype: torch.dtype
) -> None:
    """Roundings seldom agree, so that what is found is some 1 u of the 7 u that bound it."""
    n, n_keys, dim, with_prefix = heads
    found = attention_difference(Heads(CPU, dtype, n, n_keys, dim, with_prefix), in_double)
    u = torch.finfo(dtype).eps / 2
    assert u / 4 < found < 4 * u < ROUNDING_ERROR[dtype]


def spoiled(how: str) -> Callable[..., Tensor]:
    def attend(*args: Any) -> Tensor:
        token = OneToken(*args)
        arguments = dict(zip(OneToken.__dataclass_fields__, args, strict=True))
        if how == "other scale":
            arguments["scale"] = 1.01 * token.scale
        if how == "no prefix":
            arguments |= {"prefix_keys": None, "prefix_values": None}
        if how == "no mask":
            arguments["mask"] = token.mask.clone()
            arguments["mask"][..., : int(token.index) + 1] = 0.0
        if how == "nothing written":
            arguments |= {"keys": token.keys.clone(), "values": token.values.clone()}
        out = write_and_attend(*arguments.values())
        if how == "written elsewhere":
            token.values[-1, -1, -1] += 0.01
        if how == "one row":
            out[-1] = out[0]
        return out * torch.nan if how == "no number" else out

    return attend


@pytest.mark.parametrize(
    "how",
    [
        "other scale",
        "no prefix",
        "no mask",
        "nothing written",
        "written elsewhere",
        "one row",
        "no number",
    ],
)
def test_each_fault_is_an_error(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(attention_check, "_differences", {})
    with pytest.raises(FusedWrong, match="the fused attention's results differ by"):
        check(kind(*KINDS[1]), spoiled(how))
    with pytest.raises(FusedWrong):  # what was found is kept, and nothing is compared again
        check(kind(*KINDS[1]), write_and_attend)


def test_a_kernel_that_does_not_compile_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_check, "_differences", {})

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("no C compiler")

    with pytest.raises(RuntimeError, match="no C compiler"):
        check(kind(*KINDS[0]), broken)
    check(kind(*KINDS[0]), write_and_attend)


def test_nothing_is_compared_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_check, "_differences", {})
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    heads = Heads(torch.device("cuda", 0), torch.float16, 4, 4, 16, False)
    check(heads, lambda *_: pytest.fail("called during a capture"))
    assert not attention_check._differences


def test_the_check_leaves_the_random_numbers_as_they_are() -> None:
    before = torch.get_rng_state()
    attention_difference(kind(*KINDS[0]), write_and_attend)
    assert torch.equal(torch.get_rng_state(), before)
