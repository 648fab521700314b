"""Targets read behind prompts (teacher forcing), as the papers of editors score their edits.

The text is prompt, one space, target, as EasyEdit joins them. The target's tokens are those from
the first one on that the prompt alone does not have at this place. Where a space begins a token, as
in almost every tokenizer, these are all tokens behind the prompt's. Where a token spans the
boundary, it counts as the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.encoding import token_ids
from contraflow.reward.oracle.cached import of_equal_length
from contraflow.reward.oracle.generating import device_of, positions_of
from contraflow.types import Forced

BATCH_SIZE = 16


@dataclass(frozen=True)
class _Text:
    ids: tuple[int, ...]
    start: int  # of the target


@torch.no_grad()
def forced(
    model: nn.Module, tokenizer: Any, prompts: Sequence[str], targets: Sequence[str]
) -> list[Forced]:
    """Read each target behind its prompt, by plain forward passes of the model.

    Raises: UserError for a text that is longer than the model reads, or that is empty before its
        target; ValueError for prompts and targets of unequal number.
    """
    texts = [_text(model, tokenizer, p, t) for p, t in zip(prompts, targets, strict=True)]
    read: dict[_Text, Forced] = {}
    for batch in of_equal_length(list(dict.fromkeys(texts)), lambda t: len(t.ids), BATCH_SIZE):
        ids = torch.tensor([text.ids for text in batch], device=device_of(model))
        # Causal, and of one length: an attention mask of ones would say nothing.
        logits = cast(Any, model)(input_ids=ids).logits
        for row, text in enumerate(batch):
            read[text] = _score(logits[row], ids[row], text.start)
    return [read[text] for text in texts]


def _text(model: nn.Module, tokenizer: Any, prompt: str, target: str) -> _Text:
    alone = token_ids(tokenizer, prompt.rstrip(), special=True)
    ids = token_ids(tokenizer, f"{prompt.rstrip()} {target.strip()}", special=True)
    start = 0
    while start < min(len(alone), len(ids)) and alone[start] == ids[start]:
        start += 1
    if start == 0:
        raise UserError(
            f"the prompt {prompt[:60]!r} has no token before its target {target[:40]!r}; "
            "a target is read behind a prompt"
        )
    if len(ids) > positions_of(model):
        raise UserError(
            f"the prompt {prompt[:60]!r}… with its target is {len(ids)} tokens, but the model has "
            f"room for {positions_of(model)}; shorten it"
        )
    return _Text(tuple(ids), start)


def _score(logits: Float[Tensor, "t v"], ids: Int[Tensor, " t"], start: int) -> Forced:
    """Compare the tokens from `start` on with what the model says before each of them."""
    log_probs = logits[start - 1 : -1].float().log_softmax(-1)
    target = ids[start:]
    log_p = log_probs.gather(1, target[:, None]).sum()
    matches = (log_probs.argmax(-1) == target).sum()
    return Forced(log_p=float(log_p), n_matches=int(matches), n_tokens=len(target))
