"""Sentence embeddings from the packaged MiniLM encoder, for diversity and near-duplicates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from contraflow.models.weights.packaged import packaged_folder

BATCH_SIZE = 64


def load_embedder() -> Callable[[list[str]], Tensor]:
    """Return a function from n texts to embeddings [n 384]: mean-pooled, of unit length."""
    folder = packaged_folder("all-minilm-l6-v2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def embed(texts: list[str]) -> Tensor:
        rows = []
        for start in range(0, len(texts), BATCH_SIZE):
            batch = tokenizer(
                texts[start : start + BATCH_SIZE],
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            rows.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(rows)

    return embed
