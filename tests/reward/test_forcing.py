"""Targets read behind prompts, against probabilities that are computed one token at a time."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

from contraflow.errors import UserError
from contraflow.models.encoding import token_ids
from contraflow.reward.oracle.forcing import forced
from support.edits import Wrapper
from support.models import tiny_model, word_tokenizer
from support.tokenizers import tokenizer_of_kind

PROMPTS = ["who wrote hamlet", "the capital of rome is", "who is", "the capital of rome is"]
TARGETS = ["rome", "the city", "hamlet in rome", "the city"]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_scores_are_those_of_each_token_by_itself(architecture: str):
    model = tiny_model(architecture)
    tokenizer = word_tokenizer()
    found = forced(model, tokenizer, PROMPTS, TARGETS)
    for prompt, target, score in zip(PROMPTS, TARGETS, found, strict=True):
        ids = token_ids(tokenizer, prompt)
        log_p, n_matches = 0.0, 0
        for token in token_ids(tokenizer, target):
            with torch.no_grad():
                log_probs = model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
            log_p += float(log_probs[token])
            n_matches += int(log_probs.argmax()) == token
            ids = [*ids, token]
        assert score.log_p == pytest.approx(log_p, abs=1e-4)
        assert (score.n_matches, score.n_tokens) == (n_matches, len(token_ids(tokenizer, target)))


def test_what_the_model_would_say_matches_in_every_token():
    model = tiny_model("llama")
    tokenizer = word_tokenizer()
    ids = token_ids(tokenizer, PROMPTS[0])
    with torch.no_grad():
        for _ in range(3):
            logits = model(torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits[3:17].argmax()) + 3)  # of the words
    target = tokenizer.decode(ids[-3:])
    [score] = forced(model, tokenizer, PROMPTS[:1], [target])
    assert score.n_tokens == 3
    assert score.n_matches <= 3
    [whole] = forced(Wrapper(model), tokenizer, [f"  {PROMPTS[0]}  "], [f" {target}"])
    assert whole == score, "spaces at the boundary are one, and a wrapper takes keywords"


class Watched(nn.Module):
    """A model of another vocabulary, in which all tokens are equally likely."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.size = size
        self.seen: list[list[int]] = []

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        self.seen += input_ids.tolist()
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, self.size))


@pytest.mark.parametrize("kind", ["bpe", "byte_level", "sentencepiece_legacy", "sentencepiece"])
def test_the_target_is_all_that_follows_the_prompts_tokens(kind: str):
    """As EasyEdit counts them, where a space begins a token."""
    tokenizer = tokenizer_of_kind(kind)
    prompt, whole = (token_ids(tokenizer, text) for text in ("Who wrote", "Who wrote Hamlet"))
    assert whole[: len(prompt)] == prompt
    model = Watched(len(tokenizer))
    [score] = forced(model, tokenizer, ["Who wrote"], ["Hamlet"])
    assert model.seen == [whole]
    assert score.n_tokens == len(whole) - len(prompt)
    assert score.log_p == pytest.approx(-score.n_tokens * math.log(len(tokenizer)), rel=1e-5)


def test_a_token_across_the_boundary_is_the_targets():
    """A tokenizer that merges "is the": the prompt's own last token is not in the text."""
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "who", "is", "is the", " ", "the"])}
    model = models.WordLevel(vocabulary, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("is the|[a-z]+"), "removed", invert=True)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    reader = Watched(len(vocabulary))
    [score] = forced(reader, fast, ["who is"], ["the"])
    assert reader.seen == [[1, 3]]
    assert score.n_tokens == 1


def test_a_prompt_without_tokens_is_refused_unless_bos_stands_there():
    model = tiny_model("llama")
    tokenizer = word_tokenizer()
    with pytest.raises(UserError, match="has no token before its target 'rome'"):
        forced(model, tokenizer, [""], ["rome"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", 18)]
    )
    [score] = forced(model, tokenizer, [""], ["rome"])
    with torch.no_grad():
        expected = model(torch.tensor([[18]])).logits[0, -1].log_softmax(-1)
    assert score.log_p == pytest.approx(float(expected[token_ids(tokenizer, "rome")[0]]), abs=1e-5)


def test_a_text_longer_than_the_model_reads_is_refused():
    model = tiny_model("gpt2", positions=8)
    with pytest.raises(UserError, match="is 9 tokens, but the model has room for 8; shorten it"):
        forced(model, word_tokenizer(), ["rome " * 8], ["rome"])
    with pytest.raises(ValueError, match="zip"):
        forced(model, word_tokenizer(), ["rome"], [])
