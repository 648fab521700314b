"""Sentence embeddings from the packaged MiniLM encoder: what variety and near-duplicates by meaning
are told by.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from contraflow.models.packaged import packaged_folder


def load_embedder() -> Callable[[list[str]], Tensor]:
    """Sentence embeddings for diversity: the plain MiniLM encoder, mean pooled, unit length, [n
    384].
    """
    folder = packaged_folder("all-minilm-l6-v2")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )

    @torch.no_grad()
    def embed(texts: list[str]) -> Tensor:
        rows = []
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                texts[start : start + 64], padding=True, truncation=True, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            rows.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(rows)

    return embed
