"""NLI checkpoints of each family made on the spot: random, then taught the probe pairs until they
pass them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    PreTrainedConfig,
    RobertaConfig,
    RobertaTokenizer,
)

from contraflow.reward.judge.batching import encode_pairs
from contraflow.reward.judge.probes import PROBES

FAMILIES = ("bert", "roberta", "deberta_v2")
WORDS = sorted({word.strip(".,").lower() for p, h, _ in PROBES for word in f"{p} {h}".split()})


def save_judge(family: str, folder: Path, order: Sequence[str], nameless: bool = False) -> Path:
    """A checkpoint whose output i is order[i], right on all probes; ``nameless`` calls its outputs
    LABEL_i.
    """
    torch.manual_seed(11)
    tokenizer = _tokenizer(family)
    labels = {i: f"LABEL_{i}" if nameless else name for i, name in enumerate(order)}
    config = _config(family, len(tokenizer), tokenizer.pad_token_id, labels)
    model = AutoModelForSequenceClassification.from_config(config)
    _teach(model, tokenizer, order)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _teach(model: torch.nn.Module, tokenizer: Any, order: Sequence[str]) -> None:
    premises, hypotheses, names = zip(*PROBES, strict=True)
    batch = encode_pairs(tokenizer, premises, hypotheses, 80)
    target = torch.tensor([list(order).index(name) for name in names])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = torch.nn.functional.cross_entropy(model(**batch).logits, target)
        if float(loss.detach()) < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5, "the tiny judge has not learned its probes"


def _tokenizer(family: str) -> Any:
    if family == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters = [
            *"abcdefghijklmnopqrstuvwxyz.,'",
            *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
        ]
        vocabulary = dict.fromkeys([*special, *letters, *WORDS])
        return BertTokenizer(
            vocab={w: i for i, w in enumerate(vocabulary)}, do_lower_case=True, model_max_length=96
        )
    if family == "roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        characters = [
            "Ġ",
            *map(chr, range(33, 127)),
        ]  # bytes as this family writes them: Ġ is a space
        return RobertaTokenizer(
            vocab={w: i for i, w in enumerate([*special, *characters])},
            merges=[],
            model_max_length=126,
        )
    pieces = [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "▁",
        *map(chr, range(33, 127)),
        *(f"▁{w}" for w in WORDS),
    ]
    return DebertaV2Tokenizer(
        vocab=[(piece, -float(i) / 10) for i, piece in enumerate(dict.fromkeys(pieces))],
        model_max_length=96,
    )


def _config(family: str, vocab_size: int, pad: int, labels: dict[int, str]) -> PreTrainedConfig:
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,
        "pad_token_id": pad,
        "max_position_embeddings": 128,
        "id2label": labels,
        "label2id": {name: i for i, name in labels.items()},
    }
    if family == "bert":
        return BertConfig(**shared)
    if family == "roberta":
        return RobertaConfig(**shared, type_vocab_size=1)
    return DebertaV2Config(  # as v3: no absolute positions, no token types, relative positions in buckets
        **shared,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
    )
