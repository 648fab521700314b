"""Targets behind prompts, against one sequence at a time."""

from __future__ import annotations

import pytest
import torch

from examples.edits.targets import encode_targets, forced_scores, nats_per_token, target_log_probs
from support.models import tiny_model, word_tokenizer

PROMPTS = ["the capital of rome is", "who wrote hamlet"]
TARGETS = ["city in rome", "fact"]


def slow_log_probs(model: torch.nn.Module, prompt: str, target: str) -> list[tuple[float, bool]]:
    """Read the text once for each target token, without padding."""
    tokenizer = word_tokenizer()
    ids = tokenizer(prompt)["input_ids"]
    found = []
    for token in tokenizer(target)["input_ids"]:
        log_probs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        found.append((float(log_probs[token]), int(log_probs.argmax()) == token))
        ids = [*ids, token]
    return found


@torch.no_grad()
def test_log_probs_equal_those_of_single_texts() -> None:
    model = tiny_model("llama")
    batch = encode_targets(word_tokenizer(), PROMPTS, TARGETS)
    slow = [slow_log_probs(model, p, t) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    expected = [log_p for row in slow for log_p, _ in row]
    assert target_log_probs(model, batch).tolist() == pytest.approx(expected, abs=1e-5)
    scores = forced_scores(model, batch)
    assert [s.n_tokens for s in scores] == [3, 1]
    assert [s.n_matches for s in scores] == [sum(match for _, match in row) for row in slow]
    assert [s.log_p for s in scores] == pytest.approx(
        [sum(p for p, _ in r) for r in slow], abs=1e-5
    )
    assert nats_per_token(scores) == pytest.approx(-sum(expected) / 4, abs=1e-5)
