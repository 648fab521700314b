"""DeBERTa with positions that all rows share, against the network of transformers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DebertaV2Config, DebertaV2Model

from contraflow.reward.judge.recorded import remember_positions
from contraflow.reward.judge.relative import share_positions

LENGTHS = (5, 8, 9, 12, 3, 1, 30)  # within the exact positions, of which there are 8, and beyond


def deberta(**options: Any) -> DebertaV2Model:
    settings = {
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    }
    config = DebertaV2Config(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=16, relative_attention=True, type_vocab_size=0,
        max_position_embeddings=40, **(settings | options),
    )  # fmt: skip
    torch.manual_seed(0)
    model = DebertaV2Model(config).eval().requires_grad_(False)
    for module in model.modules():  # weights of 0.02 would leave all scores about equal
        if isinstance(module, torch.nn.Linear):
            module.weight.mul_(10)
    model.encoder.rel_embeddings.weight.mul_(50)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share_att_key": False},
        {"pos_att_type": ["c2p"]},
        {"pos_att_type": ["p2c"]},
        {"pos_att_type": ["p2c"], "share_att_key": False},
        {"position_buckets": -1},  # every distance is a position of its own
        {"position_buckets": -1, "max_relative_positions": 4},  # and far ones are the last
        {"norm_rel_ebd": "none"},
    ],
)
def test_states_are_those_of_the_network(options: dict[str, Any]) -> None:
    """Rows with padding, in lengths that come and come again."""
    model = deberta(**options)
    inputs = [torch.randint(1, 50, (6, n)) for n in (*LENGTHS, *LENGTHS)]
    masks = [(torch.arange(ids.shape[1]) < torch.arange(6)[:, None] + 1).long() for ids in inputs]

    def states() -> list[torch.Tensor]:
        pairs = zip(inputs, masks, strict=True)
        return [model(ids, attention_mask=mask).last_hidden_state for ids, mask in pairs]

    before = states()
    share_positions(model)
    remember_positions(model)
    for found, expected in zip(states(), before, strict=True):
        # The order of products and roots differs; scores of 10 have steps of 1e-6.
        torch.testing.assert_close(found, expected, atol=5e-6, rtol=1e-6)


def test_positions_matter_in_this_comparison() -> None:
    """Without the scores by position the states are others by far more than the bound."""
    model = deberta()
    ids = torch.randint(1, 50, (6, 12))
    before = model(ids).last_hidden_state
    for layer in model.encoder.layer:
        layer.attention.self.disentangled_attention_bias = lambda *_: 0
    assert (model(ids).last_hidden_state - before).abs().max() > 0.1


def test_bfloat16_rounds_as_the_network_does() -> None:
    model = deberta().bfloat16()
    ids = torch.randint(1, 50, (4, 12))
    before = model(ids).last_hidden_state
    share_positions(model)
    torch.testing.assert_close(model(ids).last_hidden_state, before, atol=0.05, rtol=0)


def test_a_network_in_training_runs_as_it_is() -> None:
    """Its positions change, and lose some units by chance."""
    model = deberta(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ids = torch.randint(1, 50, (2, 8))
    share_positions(model)
    model(ids)
    model.train().encoder.rel_embeddings.weight.neg_()
    found = model(ids).last_hidden_state
    fresh = deberta(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    fresh.encoder.rel_embeddings.weight.neg_()
    assert torch.equal(found, fresh(ids).last_hidden_state)


class _Copied(TorchDispatchMode):
    """Counts repetitions, and the numbers that they and matrix products make."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.made: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls[str(func)] += 1
        if isinstance(out, torch.Tensor):
            self.made[str(func)] += out.numel()
        return out


def test_no_position_is_repeated_for_a_row() -> None:
    """Per layer and of 12 tokens: 24 of 32 positions, no copy of them, and no projection."""
    model = deberta(position_buckets=32)
    remember_positions(model)
    ids = torch.randint(1, 50, (6, 12))
    with _Copied() as usual:
        model(ids)
    share_positions(model)
    model(ids)
    with _Copied() as shared:
        model(ids)
    assert usual.calls["aten.repeat.default"] == 2 * 3 and not shared.calls["aten.repeat.default"]
    n_layers, rows, heads, tokens = 3, 6, 4, 12
    of_positions = 2 * n_layers * rows * heads * tokens
    saved = usual.made["aten.bmm.default"] - shared.made["aten.bmm.default"]
    assert saved == of_positions * (64 - 24)
    assert usual.calls["aten.addmm.default"] - shared.calls["aten.addmm.default"] == 2 * n_layers
