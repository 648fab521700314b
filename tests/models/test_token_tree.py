"""A tree of sequences reads shared prefixes once; each sequence keeps its hidden states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contraflow.models.token_tree import HostTree, TokenTree
from support.models import fresh_lm, tiny_model
from support.token_trees import packed_slowly

sequences_of_three_tokens = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=12
)


def prefixes(sequences: list[list[int]]) -> set[tuple[int, ...]]:
    """Return the distinct non-empty prefixes, which are the nodes of the tree."""
    return {tuple(s[: n + 1]) for s in sequences for n in range(len(s))}


def n_nodes(tree: TokenTree) -> int:
    """Count the nodes that some sequence runs through."""
    on_path = torch.arange(tree.paths.shape[1])[None, :] < tree.lengths[:, None]
    return len(tree.paths[on_path].unique())


@given(sequences_of_three_tokens, st.integers(1, 30))
def test_each_path_spells_its_sequence_and_sees_its_ancestors(sequences, row_tokens):
    tree = TokenTree.of(sequences, row_tokens=row_tokens)
    width = tree.ids.shape[1]
    for row, sequence in enumerate(sequences):
        path = tree.paths[row, : int(tree.lengths[row])]
        assert tree.ids.flatten()[path].tolist() == sequence
        assert tree.depths.flatten()[path].tolist() == list(range(len(sequence)))
        for depth, node in enumerate(path.tolist()):
            seen = tree.visible[node // width, node % width].nonzero().squeeze(1)
            assert set((seen + node // width * width).tolist()) == set(path[: depth + 1].tolist())
        assert int(tree.last[row]) == int(path[-1])


@given(sequences_of_three_tokens, st.integers(1, 30), st.sampled_from([1, 5, 8]))
def test_arrays_are_those_of_packing_one_prefix_at_a_time(sequences, row_tokens, multiple):
    tree = HostTree.of(sequences, row_tokens, multiple)
    slowly = packed_slowly(sequences, row_tokens, multiple)
    for found, expected in zip(tree.arrays, slowly.arrays, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@given(sequences_of_three_tokens)
def test_one_row_has_one_node_per_different_prefix(sequences):
    tree = TokenTree.of(sequences, row_tokens=1000)
    assert tree.ids.shape == (1, len(prefixes(sequences)))
    assert n_nodes(tree) == len(prefixes(sequences))


@given(sequences_of_three_tokens, st.integers(1, 30))
def test_rows_stay_near_the_limit_and_repeats_are_read_once(sequences, row_tokens):
    tree = TokenTree.of(sequences, row_tokens=row_tokens)
    assert tree.ids.shape[1] <= row_tokens + max(map(len, sequences))
    by_text = {}
    for row, sequence in enumerate(sequences):
        assert by_text.setdefault(tuple(sequence), int(tree.last[row])) == int(tree.last[row])


def test_an_empty_sequence_has_no_node_to_stand_on():
    with pytest.raises(ValueError, match="at least one token"):
        TokenTree.of([[1], []])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("row_tokens", [3, 1000])
@pytest.mark.parametrize("header", ["", "fact : the capital of rome\n"])
def test_hidden_states_of_a_tree_equal_plain_forwards(name: str, row_tokens: int, header: str):
    """Branches, a sequence that is a prefix of another, a repeat, and one that shares nothing."""
    sequences = [[3, 6, 7], [3, 6, 9, 4], [3, 6], [5, 3, 6, 7], [3, 6, 7], [4]]
    lm, plain = fresh_lm(name), tiny_model(name)
    plain.set_attn_implementation("eager")
    start = lm.encode(header, first=True)
    tree = TokenTree.of(sequences, row_tokens=row_tokens)
    hidden = lm.tree_hidden(lm.prefix_cache(header), tree)
    for row, sequence in enumerate(sequences):
        ids = torch.tensor([start + sequence])
        expected = plain(ids, output_hidden_states=True, use_cache=False).hidden_states[-1][
            0, len(start) :
        ]
        got = hidden[tree.paths[row, : len(sequence)]]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
