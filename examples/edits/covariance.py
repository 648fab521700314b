"""What the MLP reads elsewhere: C = E[k kᵀ] over text that the model itself writes.

A rank-one edit changes W along C⁻¹k, so that inputs unlike k keep their outputs. ROME takes C from
100,000 tokens of Wikipedia; a few thousand sampled tokens need no data set, and are kept in the
cache folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from contraflow.models.weights.packaged import cache_dir
from contraflow.system.files import write_atomically
from examples.edits.fine_tune import mlp_projection

# One token each in the tokenizer of SmolLM2, so that all rows of the batch have one length.
OPENINGS = ("The", "In", "A", "When", "He", "She", "They", "It", "This", "For", "As", "On", "At",
            "We", "One", "There")  # fmt: skip


@dataclass(frozen=True)
class OwnText:
    """Texts that a model has written, and the covariance of one layer's MLP inputs on them."""

    texts: tuple[str, ...]
    covariance: Float[Tensor, "f f"]

    def contexts(self, n: int, n_words: int = 8) -> list[str]:
        """Beginnings to put before a prompt; the first is empty."""
        starts = [" ".join(text.split()[:n_words]).rstrip(".") + ". " for text in self.texts]
        return ["", *starts[: n - 1]]


def own_text(lm: Any, layer: int, n_tokens: int = 4096, seed: int = 0) -> OwnText:
    """Sample the texts and read them once, or take both from the cache folder."""
    name = f"own-text-{lm.identity}-layer{layer}-{n_tokens}-seed{seed}.safetensors"
    path = cache_dir() / "examples" / name
    if path.is_file():
        return _read(path)
    texts = write_texts(lm.model, lm.tokenizer, n_tokens, seed)
    made = OwnText(tuple(texts), covariance_of(lm.model, lm.tokenizer, layer, texts))
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"texts": json.dumps(made.texts)}
    write_atomically(path, save({"covariance": made.covariance}, metadata))
    return made


def _read(path: Path) -> OwnText:
    with safe_open(path, framework="pt") as file:
        texts = json.loads(file.metadata()["texts"])
        return OwnText(tuple(texts), file.get_tensor("covariance"))


@torch.no_grad()
def write_texts(model: Any, tokenizer: Any, n_tokens: int, seed: int) -> list[str]:
    """Continue each opening at temperature 1 until there are n_tokens together."""
    ids = torch.tensor([tokenizer(opening)["input_ids"][:1] for opening in OPENINGS])
    length = -(-n_tokens // len(OPENINGS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        written = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            min_new_tokens=length - 1,
            max_new_tokens=length - 1,
            pad_token_id=tokenizer.pad_token_id,
        )
    return [" ".join(text.split()) for text in tokenizer.batch_decode(written, True)]


@torch.no_grad()
def covariance_of(
    model: Any, tokenizer: Any, layer: int, texts: Sequence[str]
) -> Float[Tensor, "f f"]:
    """Mean of k kᵀ over all tokens but the first of each text, whose activations are extreme."""
    keys: list[Tensor] = []
    projection = mlp_projection(model, layer)
    hook = projection.register_forward_pre_hook(lambda _, args: keys.append(args[0][0, 1:]))
    try:
        for text in texts:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            model.base_model(ids, attention_mask=torch.ones_like(ids))
    finally:
        hook.remove()
    stacked = torch.cat(keys).float()
    return stacked.T @ stacked / len(stacked)
