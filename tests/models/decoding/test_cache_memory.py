"""Keys of all layers in blocks, against copies made position by position."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from contraflow.models.decoding import cache_memory
from contraflow.models.decoding.cache_memory import (
    Block,
    CacheMemory,
    FusedGather,
    Gather,
    PackedKeys,
    SavedKeys,
    layer_states,
)
from contraflow.models.prefilled import cache_of_one_pass

N_ROWS, N_NODES = 3, 7  # of the tree
ROWS, LENGTH = 8, 32


def tree_cache(value_dims: tuple[int, ...] = (4, 4)) -> DynamicCache:
    """A layer for each width of values; keys have heads of 4."""
    cache = cache_of_one_pass()
    rng = torch.Generator().manual_seed(1)
    for number, dim in enumerate(value_dims):
        keys = torch.randn(N_ROWS, N_NODES, 2, 4, generator=rng).transpose(1, 2)  # as GPT-2's are
        cache.update(keys, torch.randn(N_ROWS, 2, N_NODES, dim, generator=rng), number)
    return cache


def by_number(blocks: list[Block]) -> dict[int, Tensor]:
    return {n: b.states[i] for b in blocks for i, n in enumerate(b.numbers)}


@pytest.mark.parametrize("most_bytes", [1, 2000, 1 << 28])
@pytest.mark.parametrize("value_dims", [(4, 4), (4, 4, 4), (4, 6), (5, 6, 5)])
def test_each_position_gets_the_keys_of_its_node(
    monkeypatch: pytest.MonkeyPatch, value_dims: tuple[int, ...], most_bytes: int
) -> None:
    """Five rows of four positions, in one part and in several, beside rows that stay."""
    monkeypatch.setattr(cache_memory, "MOST_BYTES", most_bytes)
    cache = tree_cache(value_dims)
    memory = CacheMemory(cache, ROWS * LENGTH)
    blocks = memory.blocks(ROWS, LENGTH)
    assert len(blocks) == 1 + len(set(value_dims))
    nodes = torch.randint(0, N_ROWS * N_NODES, (5, 4), generator=torch.Generator().manual_seed(2))
    PackedKeys.of(cache, nodes).write_to(blocks)
    found = by_number(blocks)
    for number, states in enumerate(layer_states(cache)):
        for i, row in enumerate(nodes.tolist()):
            for position, node in enumerate(row):
                expected = states[node // N_NODES, :, node % N_NODES]
                assert torch.equal(found[number][i, :, position], expected)
        assert not found[number][5:].any() and not found[number][:, :, 4:].any()


def test_a_kernel_that_fails_is_left_out_from_then_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails while it compiles, at the first of two blocks; both are written all the same."""
    tries = 0

    def load() -> Gather:
        nonlocal tries
        tries += 1
        raise RuntimeError("no C compiler\nsearched in: everywhere")

    monkeypatch.setattr(cache_memory, "FUSED", FusedGather(load, "cpu"))
    cache = tree_cache()
    nodes = torch.tensor([[0, 8, 20]])
    for _ in range(2):
        blocks = CacheMemory(cache, ROWS * LENGTH).blocks(ROWS, LENGTH)
        PackedKeys.of(cache, nodes).write_to(blocks)
        for number, states in by_number(blocks).items():
            expected = layer_states(cache)[number][torch.tensor([0, 1, 2]), :, [0, 1, 6]]
            assert torch.equal(states[0, :, :3], expected.transpose(0, 1))
    assert tries == 1
    assert capsys.readouterr().err.count("RuntimeError: no C compiler)") == 1


def by_hand(target: Tensor, states: Sequence[Tensor], row: Tensor, column: Tensor) -> bool:
    """A right kernel: one node of one layer after the other."""
    for layer, found in zip(target, states, strict=True):
        for i, (nodes, places) in enumerate(zip(row.tolist(), column.tolist(), strict=True)):
            for position, (r, m) in enumerate(zip(nodes, places, strict=True)):
                layer[i, :, position] = found[r, :, m]
    return True


def other_nodes(target: Tensor, states: Sequence[Tensor], row: Tensor, column: Tensor) -> bool:
    return by_hand(target, states, row, column.flip(1))


def off_by_a_bit(target: Tensor, states: Sequence[Tensor], row: Tensor, column: Tensor) -> bool:
    """0 becomes −0, which is equal as a number."""
    by_hand(target, states, row, column)
    n, width = row.shape
    target[:, n - 1, 0, width - 1, 0] *= -1.0
    return True


def nothing(*_: object) -> bool:
    return True


@pytest.mark.parametrize("wrong", [other_nodes, off_by_a_bit, nothing])
def test_a_kernel_that_copies_other_keys_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: Gather
) -> None:
    """Its first copy is compared; that block and all later ones are written the usual way."""
    loaded = 0

    def load() -> Gather:
        nonlocal loaded
        loaded += 1
        return wrong

    monkeypatch.setattr(cache_memory, "FUSED", FusedGather(load, "cpu"))
    cache = tree_cache()
    for states in layer_states(cache):
        states[2, 0, 6, 0] = 0.0
    nodes = torch.tensor([[0, 8, 20]])
    for _ in range(2):
        blocks = CacheMemory(cache, ROWS * LENGTH).blocks(ROWS, LENGTH)
        PackedKeys.of(cache, nodes).write_to(blocks)
        for number, found in by_number(blocks).items():
            expected = layer_states(cache)[number][torch.tensor([0, 1, 2]), :, [0, 1, 6]]
            assert torch.equal(found[0, :, :3], expected.transpose(0, 1))
            assert not found[0, 0, 2, 0].signbit()
    assert loaded == 1 and cache_memory.FUSED.failed
    printed = capsys.readouterr().err
    assert printed.count("cannot do it here (CopiedWrong: it copies other keys") == 1


def test_a_right_kernel_is_compared_once_for_its_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys have heads of 4, values of 4 and of 6: two comparisons for all blocks and times."""
    compared: list[int] = []
    usual = cache_memory._taken

    def counted(states: Tensor, *where: Tensor) -> Tensor:
        compared.append(states.shape[-1])
        return usual(states, *where)

    monkeypatch.setattr(cache_memory, "_taken", counted)
    monkeypatch.setattr(cache_memory, "FUSED", FusedGather(lambda: by_hand, "cpu"))
    cache = tree_cache((4, 6, 4))
    for _ in range(2):
        blocks = CacheMemory(cache, ROWS * LENGTH).blocks(ROWS, LENGTH)
        PackedKeys.of(cache, torch.tensor([[0, 8, 20]])).write_to(blocks)
    assert compared == [4, 6]
    assert not cache_memory.FUSED.failed


def test_a_kernel_without_memory_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Gather:
        raise torch.OutOfMemoryError

    fused = FusedGather(load, "cpu")
    monkeypatch.setattr(cache_memory, "FUSED", fused)
    cache = tree_cache()
    blocks = CacheMemory(cache, ROWS * LENGTH).blocks(ROWS, LENGTH)
    with pytest.raises(torch.OutOfMemoryError):
        PackedKeys.of(cache, torch.tensor([[1]])).write_to(blocks)
    assert not fused.failed


def test_saved_rows_return_in_another_size_of_the_same_memory() -> None:
    cache = tree_cache()
    memory = CacheMemory(cache, ROWS * LENGTH)
    large, small = memory.blocks(ROWS, LENGTH), memory.blocks(2, LENGTH)
    for block in large:
        block.states.normal_(generator=torch.Generator().manual_seed(3))
    row = torch.tensor([6, 1])
    expected = {n: x[row, :, :9].clone() for n, x in by_number(large).items()}
    SavedKeys.of(large, row, 9).write_to(small)
    for number, states in by_number(small).items():
        assert torch.equal(states[:, :, :9], expected[number])


def test_sizes_begin_at_the_same_address() -> None:
    memory = CacheMemory(tree_cache(), ROWS * LENGTH)
    places = [[b.states.data_ptr() for b in memory.blocks(rows, LENGTH)] for rows in (1, 2, ROWS)]
    assert places[0] == places[1] == places[2]
    keys, values = memory.blocks(2, LENGTH)
    assert (keys.numbers, values.numbers) == ((0, 2), (1, 3))
    assert keys.states.untyped_storage().data_ptr() != values.states.untyped_storage().data_ptr()
    assert all(x.is_contiguous() for x in by_number(memory.blocks(2, LENGTH)).values())


def test_the_cache_of_one_pass_copies_nothing_and_takes_no_second_one() -> None:
    cache = cache_of_one_pass()
    keys, values = torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    found = cache.update(keys, values, 0)
    assert found[0] is keys and found[1] is values and cache.layers[0].keys is keys
    assert cache.get_seq_length() == 3
    with pytest.raises(RuntimeError, match="one pass"):
        cache.update(keys, values, 0)
