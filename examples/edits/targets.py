"""Targets behind prompts: the batch, its log-probabilities, and the editor's own score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from contraflow.types import Forced


@dataclass(frozen=True)
class Targets:
    """b texts of a prompt and its target, padded on the right."""

    ids: Int[Tensor, "b t"]
    real: Bool[Tensor, "b t"]
    is_target: Bool[Tensor, "b t"]


def encode_targets(tokenizer: Any, prompts: Sequence[str], targets: Sequence[str]) -> Targets:
    """Encode "prompt target"; the target begins with a space of its own."""
    rows: list[tuple[list[int], int]] = []
    for prompt, target in zip(prompts, targets, strict=True):
        before = tokenizer(prompt)["input_ids"]
        rows.append(
            (before + tokenizer(" " + target, add_special_tokens=False).input_ids, len(before))
        )
    width = max(len(ids) for ids, _ in rows)
    column = torch.arange(width)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    real = torch.stack([column < len(ids) for ids, _ in rows])
    is_target = torch.stack([(column >= start) & (column < len(ids)) for ids, start in rows])
    return Targets(ids, real, is_target)


def target_logits(model: Any, batch: Targets) -> Float[Tensor, "m v"]:
    """Logits at the positions before each of the m target tokens, row by row."""
    hidden = model.base_model(batch.ids, attention_mask=batch.real.long()).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(hidden[:, :-1][batch.is_target[:, 1:]])
    return logits.float()


def target_log_probs(model: Any, batch: Targets) -> Float[Tensor, " m"]:
    """Log-probability of each target token given the text before it, in nats."""
    log_probs = target_logits(model, batch).log_softmax(-1)
    return log_probs.gather(1, batch.ids[batch.is_target][:, None]).squeeze(1)


@torch.no_grad()
def forced_scores(model: Any, batch: Targets) -> list[Forced]:
    """The score that editors report: tokens of the target that are the most likely ones."""
    log_probs = target_logits(model, batch).log_softmax(-1)
    ids = batch.ids[batch.is_target]
    log_p = log_probs.gather(1, ids[:, None]).squeeze(1)
    matches = log_probs.argmax(-1) == ids
    sizes = batch.is_target.sum(1).tolist()
    parts = zip(log_p.split(sizes), matches.split(sizes), sizes, strict=True)
    return [Forced(float(p.sum()), int(m.sum()), n) for p, m, n in parts]


def nats_per_token(scores: Sequence[Forced]) -> float:
    """Mean surprise of all target tokens."""
    return -sum(score.log_p for score in scores) / sum(score.n_tokens for score in scores)
