"""ROME (Meng et al. 2022, "Locating and Editing Factual Associations in GPT") for Llama's MLP.

The second matrix W of an MLP is read as a memory: key k (its input at the subject's last token) to
value W k. To write a fact,
1. k* = mean of the keys over a few contexts before the prompt;
2. δ = argmin −log p(new answer | prompt, output at the subject + δ) + κ KL("subject is a") + decay;
3. W ← W + δ uᵀ / (k*ᵀ u) with u = C⁻¹ k*: then W k* has grown by δ exactly, and among all such
   changes this one moves the outputs of other text least (C = E[k kᵀ], `covariance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from examples.edits.fine_tune import mlp_projection
from examples.edits.targets import Targets, encode_targets, target_log_probs


@dataclass(frozen=True)
class RankOne:
    """Settings; the norm of δ is at most `max_growth` times that of the value it is added to."""

    layer: int = 8
    n_contexts: int = 5
    value_steps: int = 25
    lr: float = 0.5
    kl_weight: float = 0.0625
    decay: float = 0.01
    max_growth: float = 8.0
    enough: float = 0.05
    ridge: float = 0.01  # of C's mean diagonal, since a few thousand tokens leave C ill-conditioned


@dataclass(frozen=True)
class Request:
    """What to write: `prompt` holds `subject`, and `target` shall follow it."""

    subject: str
    prompt: str
    target: str


def rank_one_edit(
    model: Any,
    tokenizer: Any,
    request: Request,
    contexts: Sequence[str],
    covariance: Float[Tensor, "f f"],
    settings: RankOne,
) -> None:
    """Write one fact into the model, in place."""
    key = subject_key(model, tokenizer, request, contexts, settings.layer)
    delta = value_change(model, tokenizer, request, contexts, key, settings)
    weight = mlp_projection(model, settings.layer).weight
    weight.data = rank_one_update(weight.data, key, delta, covariance, settings.ridge)


def rank_one_update(
    weight: Float[Tensor, "d f"],
    key: Float[Tensor, " f"],
    delta: Float[Tensor, " d"],
    covariance: Float[Tensor, "f f"],
    ridge: float,
) -> Float[Tensor, "d f"]:
    """The weight whose output at `key` has grown by `delta`, least changed where C is large."""
    size = ridge * covariance.diagonal().mean()
    direction: Tensor = torch.linalg.solve(covariance + size * torch.eye(len(key)), key)
    return weight + torch.outer(delta, direction) / (key @ direction)


@torch.no_grad()
def subject_key(
    model: Any, tokenizer: Any, request: Request, contexts: Sequence[str], layer: int
) -> Float[Tensor, " f"]:
    """Mean input of the projection at the subject's last token, over contexts."""
    keys: list[Tensor] = []
    hook = mlp_projection(model, layer).register_forward_pre_hook(
        lambda _, args: keys.append(args[0])
    )
    try:
        for context in contexts:
            text = context + request.prompt
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            model.base_model(ids, attention_mask=torch.ones_like(ids))
            keys[-1] = keys[-1][0, subject_end(tokenizer, text, request.subject)]
    finally:
        hook.remove()
    return torch.stack(keys).mean(0)


def subject_end(tokenizer: Any, text: str, subject: str) -> int:
    """Position of the last token of the subject's last mention in a text."""
    end = text.rindex(subject) + len(subject)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return max(position for position, (start, _) in enumerate(offsets) if start < end)


def value_change(
    model: Any,
    tokenizer: Any,
    request: Request,
    contexts: Sequence[str],
    key: Float[Tensor, " f"],
    settings: RankOne,
) -> Float[Tensor, " d"]:
    """δ by gradient steps; the model's weights stay as they are."""
    texts = [context + request.prompt for context in contexts]
    batch = encode_targets(tokenizer, texts, [request.target] * len(texts))
    ends = torch.tensor([subject_end(tokenizer, text, request.subject) for text in texts])
    essence = _Essence.of(model, tokenizer, request.subject)
    size = (mlp_projection(model, settings.layer).weight @ key).norm()
    delta = torch.zeros(mlp_projection(model, settings.layer).out_features, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=settings.lr)
    for _ in range(settings.value_steps):
        surprise = _surprise(model, batch, ends, delta, settings.layer)
        if surprise.item() <= settings.enough:
            break
        drift = essence.drift(model, delta, settings.layer)
        decay = (delta.norm() / size) ** 2
        loss = surprise + settings.kl_weight * drift + settings.decay * decay
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            delta.mul_((settings.max_growth * size / delta.norm()).clamp(max=1.0))
    return delta.detach()


def _surprise(model: Any, batch: Targets, ends: Tensor, delta: Tensor, layer: int) -> Tensor:
    with adding(model, layer, ends, delta):
        return -target_log_probs(model, batch).mean()


@contextmanager
def adding(
    model: Any, layer: int, positions: Int[Tensor, " b"], delta: Float[Tensor, " d"]
) -> Iterator[None]:
    """Add δ to the projection's output at one position of each row, within the block."""

    def add(_module: Any, _args: Any, output: Tensor) -> Tensor:
        chosen = torch.nn.functional.one_hot(positions, output.shape[1])[..., None]
        return output + chosen.to(output.dtype) * delta

    hook = mlp_projection(model, layer).register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


@dataclass(frozen=True)
class _Essence:
    """What the model expects after "SUBJECT is a", which the edit shall not change."""

    ids: Int[Tensor, "1 t"]
    end: Int[Tensor, " 1"]
    expected: Float[Tensor, " v"]  # log-probabilities of the next token before the edit

    @classmethod
    def of(cls, model: Any, tokenizer: Any, subject: str) -> _Essence:
        text = f"{subject} is a"
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        end = torch.tensor([subject_end(tokenizer, text, subject)])
        with torch.no_grad():
            return cls(ids, end, _next_token(model, ids))

    def drift(self, model: Any, delta: Tensor, layer: int) -> Tensor:
        """KL(before ‖ after) of the next token, in nats."""
        with adding(model, layer, self.end, delta):
            after = _next_token(model, self.ids)
        return (self.expected.exp() * (self.expected - after)).sum()


def _next_token(model: Any, ids: Int[Tensor, "1 t"]) -> Float[Tensor, " v"]:
    hidden = model.base_model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(hidden[0, -1])
    return logits.float().log_softmax(-1)
