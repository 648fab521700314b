"""NLI checkpoints small enough to compute with, one for each family that the judge must read.

`save_random_judge` knows nothing; `save_judge` is trained on the probe pairs until it passes them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    PreTrainedConfig,
    RobertaConfig,
    RobertaTokenizer,
)

from contraflow.reward.judge.batching import encode_pairs
from contraflow.reward.judge.probes import PROBES
from contraflow.reward.judge.scores import LABELS

FAMILIES = ("bert", "roberta", "deberta_v2")
NLI_NAMES = {0: "CONTRADICTION", 1: "entailment", 2: "Neutral"}
TEST_WORDS = "a the man woman dog is was not asleep awake running capital of france paris lyon"
PROBE_WORDS = " ".join(f"{premise} {hypothesis}" for premise, hypothesis, _ in PROBES)
WORDS = sorted({word.strip(".,").lower() for word in f"{TEST_WORDS} {PROBE_WORDS}".split()})


def save_random_judge(folder: Path, labels: Mapping[int, str], seed: int = 0) -> Path:
    """Save a BERT with random weights, which fails the self-test."""
    tokenizer = _tokenizer("bert")
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(_config("bert", tokenizer, labels))
    return _save(folder, model, tokenizer)


def save_backbone(folder: Path) -> Path:
    """Save a BERT with random weights and without a classification head."""
    tokenizer = _tokenizer("bert")
    torch.manual_seed(1)
    return _save(folder, BertModel(_config("bert", tokenizer, NLI_NAMES)), tokenizer)


def save_judge(family: str, folder: Path, order: Sequence[str], nameless: bool = False) -> Path:
    """Save a checkpoint whose output i means `order[i]` and which is right on all probes.

    `nameless`: its config calls the outputs LABEL_0, LABEL_1, LABEL_2.
    """
    model = copy.deepcopy(_trained(family))
    labels = {i: f"LABEL_{i}" if nameless else name for i, name in enumerate(order)}
    model.config.id2label = labels
    model.config.label2id = {name: i for i, name in labels.items()}
    (head,) = (m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 3)
    rows = [LABELS.index(name) for name in order]
    with torch.no_grad():  # another order of the outputs is the same network
        head.weight.copy_(head.weight[rows].clone())
        head.bias.copy_(head.bias[rows].clone())
    return _save(folder, model, _tokenizer(family))


@cache
def _trained(family: str) -> Any:
    """A model whose outputs are LABELS in order; it is trained once, which takes most of a test."""
    tokenizer = _tokenizer(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        labels = dict(enumerate(LABELS))
        model = AutoModelForSequenceClassification.from_config(_config(family, tokenizer, labels))
    _train_on_probes(model, tokenizer, LABELS)
    return model


def _save(folder: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train_on_probes(model: nn.Module, tokenizer: Any, order: Sequence[str]) -> None:
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
        letters = "abcdefghijklmnopqrstuvwxyz"
        pieces = [*special, *letters, *".,'", *(f"##{letter}" for letter in letters), *WORDS]
        return BertTokenizer(vocab=_numbered(pieces), do_lower_case=True, model_max_length=96)
    printable = list(map(chr, range(33, 127)))
    if family == "roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        space = "Ġ"  # how this family writes the byte of a space
        vocabulary = _numbered([*special, space, *printable])
        return RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=126)
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁", *printable, *(f"▁{word}" for word in WORDS)]
    scores = [(piece, -float(i) / 10) for piece, i in _numbered(pieces).items()]
    return DebertaV2Tokenizer(vocab=scores, model_max_length=96)


def _numbered(pieces: Sequence[str]) -> dict[str, int]:
    """Give each different piece an id, in order."""
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def _config(family: str, tokenizer: Any, labels: Mapping[int, str]) -> PreTrainedConfig:
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,  # with the usual 0.02 all texts look alike
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 128,
        "id2label": dict(labels),
        "label2id": {name: i for i, name in labels.items()},
    }
    if family == "bert":
        return BertConfig(**shared)
    if family == "roberta":
        return RobertaConfig(**shared, type_vocab_size=1)
    # As DeBERTa-v3: no absolute positions, no token types, relative positions in buckets.
    return DebertaV2Config(
        **shared,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
    )
