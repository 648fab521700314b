"""Constrained fine-tuning: one matrix, within its bound, until the answer is likely."""

from __future__ import annotations

from dataclasses import replace

import torch

from examples.edits.fine_tune import FineTuning, fine_tune, mlp_projection, projection_name
from examples.edits.targets import encode_targets, target_log_probs
from support.models import tiny_model, word_tokenizer

SETTINGS = FineTuning(layer=1, lr=0.05, max_steps=60, epsilon=0.4, enough=0.5)


def edited(settings: FineTuning) -> tuple[torch.nn.Module, list[float]]:
    model = tiny_model("llama").requires_grad_(False)
    batch = encode_targets(word_tokenizer(), ["the capital of rome is"], ["hamlet"])
    losses: list[float] = []
    fine_tune(model, batch, settings, losses.append)
    return model, [*losses, -target_log_probs(model, batch).mean().item()]


def test_the_new_answer_becomes_likely_in_one_matrix() -> None:
    model, losses = edited(SETTINGS)
    assert losses[0] > 2 * SETTINGS.enough
    assert losses[-1] <= SETTINGS.enough
    before = tiny_model("llama").state_dict()
    changed = [n for n, t in model.state_dict().items() if not torch.equal(t, before[n])]
    assert changed == [projection_name(1)]
    assert not any(p.requires_grad for p in model.parameters())


def test_no_entry_moves_farther_than_epsilon() -> None:
    """Adam's first step moves entries by lr = 0.05, so a bound of 0.01 binds at once."""
    model, _ = edited(replace(SETTINGS, epsilon=0.01, max_steps=5, enough=0.0))
    moved = mlp_projection(model, 1).weight - mlp_projection(tiny_model("llama"), 1).weight
    assert 0.0099 < moved.abs().max().item() <= 0.01 + 1e-7
