"""A judge small enough to compute with: a random two-layer BERT over a vocabulary written here."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

WORDS = (
    "a", "the", "man", "woman", "dog", "is", "was", "not", "asleep", "awake", "running", ".", "capital", "of",
    "france", "paris", "lyon",
)  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NLI_NAMES = {0: "CONTRADICTION", 1: "entailment", 2: "Neutral"}


def tiny_config(labels: dict[int, str]) -> BertConfig:
    return BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,  # the usual 0.02 makes all texts look alike
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )


def save_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=64).save_pretrained(folder)


def save_classifier(folder: Path, labels: dict[int, str]) -> Path:
    save_tokenizer(folder)
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny_config(labels))
    model.save_pretrained(folder)
    return folder
