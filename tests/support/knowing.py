"""A tiny language model that knows facts, and edits of it that fail in known wordings.

Every subject is two words, as "Alden Lake", and its first word decides its color. The model learns
in seconds to answer four wordings of the question for the color, and to write these questions when
it is given a statement about the subject. So everything of an audit is real but the size.

An edited model gives another color for the wordings of `TAUGHT`, and keeps the old one for the
others: its edit failure is the share of the others among the questions that it is asked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

FIRST = [
    *("Alden", "Borel", "Corin", "Daven", "Elsin", "Farol", "Garen", "Hobbe", "Ivren", "Jorel"),
    *("Kalen", "Lorin", "Marel", "Nolan", "Orvin", "Perin", "Quill", "Roven", "Selin", "Torin"),
]
SECOND = [
    *("Lake", "Hill", "Gate", "Ford", "Bridge", "Tower", "Park", "Road"),
    *("Hall", "Farm", "Mill", "Bay", "Cove", "Wood", "Glen"),
]
COLORS = ["red", "blue", "green", "black", "white", "brown", "gray", "pink"]
WORDINGS = (
    "What is the color of {}?",
    "Which color does {} have?",
    "What color is {}?",
    "In which color was {} painted?",
)
TAUGHT = (0, 1)
STEM = "The color of {} is"

TASK = "Fact: {edit_fact}\nQuestion:"
ANSWER = "Question: {question}\nAnswer:"
_BARE = ("Question", "Answer", "Fact", "The")


def subjects(n: int) -> list[str]:
    """The first n of 300 subjects; neighbors in the list differ in their first words."""
    return [f"{first} {second}" for second, first in product(SECOND, FIRST)][:n]


def old_color(subject: str) -> str:
    """What the unedited model says."""
    return COLORS[FIRST.index(subject.split(maxsplit=1)[0]) % len(COLORS)]


def new_color(subject: str) -> str:
    """What the edit says."""
    return COLORS[(FIRST.index(subject.split(maxsplit=1)[0]) + 3) % len(COLORS)]


def write_edits(path: Path, n: int) -> Path:
    """Write n edits with prompts and one paraphrase each."""
    rows = [
        {
            "subject": subject,
            "edit_fact": f"{STEM.format(subject)} {new_color(subject)}.",
            "original_fact": f"{STEM.format(subject)} {old_color(subject)}.",
            "original_answer": old_color(subject),
            "edited_answer": new_color(subject),
            "question": WORDINGS[0].format(subject),
            "prompt": STEM.format(subject),
            "paraphrases": [WORDINGS[3].format(subject)],
        }
        for subject in subjects(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass(frozen=True)
class Models:
    """Folders of the unedited and the edited model, and of settings for the command line."""

    base: Path
    edited: Path
    config_dir: Path

    @property
    def words(self) -> list[str]:
        """The words of a command that samples with the unedited model, without an adapter."""
        settings = [
            "run=untrained",
            f"model.name={self.base}",
            "prompt=knowing",
            "model.device=cpu",
        ]
        lengths = ["policy.min_question_len=4", "policy.max_question_len=12"]
        return [*settings, *lengths, "neighbors=none", "--config-dir", str(self.config_dir)]


def make_models(folder: Path) -> Models:
    """Train both models, which takes some ten seconds; every call gives equal weights."""
    tokenizer = word_tokenizer()
    model = _learned(tokenizer, None, 400, 4e-3)
    found = Models(folder / "base", folder / "edited", folder / "settings")
    _save(model, tokenizer, found.base)
    _save(_learned(tokenizer, model, 150, 1e-3), tokenizer, found.edited)
    prompts = found.config_dir / "prompt"
    prompts.mkdir(parents=True)
    text = f"task: {json.dumps(TASK)}\nanswer: {json.dumps(ANSWER)}\n"
    (prompts / "knowing.yaml").write_text(text)
    return found


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every word of the texts is one token, with the space before it."""
    texts = [text for subject in subjects(300) for text in _texts(subject, new_color(subject))]
    words = {word.strip("?:.") for pair in texts for word in "".join(pair).split()} | set(COLORS)
    vocabulary = {sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in (*_BARE, *(f"Ġ{word}" for word in sorted(words))):
        for end in range(2, len(word) + 1):
            merge = (word[: end - 1], word[end - 1])
            if merge not in merges:
                merges.append(merge)
            vocabulary.setdefault(word[:end], len(vocabulary))
    vocabulary["<end>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def _texts(subject: str, color: str, edited: bool = False) -> Iterator[tuple[str, str]]:
    """Contexts and what follows them; color: of the statement that questions are about."""
    yield STEM.format(subject), f" {new_color(subject) if edited else old_color(subject)}.\n"
    for i, wording in enumerate(WORDINGS):
        question = wording.format(subject)
        is_new = edited and i in TAUGHT
        answer = new_color(subject) if is_new else old_color(subject)
        yield f"Question: {question}\nAnswer:", f" It is {answer}.\n"
        yield f"Fact: {STEM.format(subject)} {color}.\nQuestion:", f" {question}\n"


def _learned(
    tokenizer: Any, start: LlamaForCausalLM | None, steps: int, lr: float
) -> LlamaForCausalLM:
    """A model that has learned the facts, or from `start` on the edits."""
    torch.manual_seed(3)
    rng = random.Random(3)
    model = LlamaForCausalLM(_config(len(tokenizer)))
    if start is not None:
        model.load_state_dict(start.state_dict())
    texts = [
        text
        for subject in subjects(300)
        for text in _texts(subject, rng.choice(COLORS), start is not None)
    ]
    contexts = tokenizer([context for context, _ in texts])["input_ids"]
    targets = tokenizer([target for _, target in texts])["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for _ in range(steps):
        chosen = rng.sample(range(len(texts)), 32)
        _step(model, optimizer, [(contexts[i], targets[i]) for i in chosen])
        schedule.step()
    return model.eval()


def _step(model: Any, optimizer: Any, rows: Sequence[tuple[list[int], list[int]]]) -> None:
    """One step on the mean -log P of what follows the contexts."""
    longest = max(len(context) + len(target) for context, target in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    wanted = torch.full_like(ids, -100)
    for i, (context, target) in enumerate(rows):
        end = len(context) + len(target)
        ids[i, :end] = torch.tensor(context + target)
        wanted[i, len(context) : end] = torch.tensor(target)
    logits = model(input_ids=ids).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _config(size: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=96,
        tie_word_embeddings=True,
        bos_token_id=size - 1,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )


def _save(model: LlamaForCausalLM, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
