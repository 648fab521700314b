"""Answers by `generate()`: equal to the fast ones, and of models that have no fast oracle."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import nn
from transformers import GenerationConfig

from contraflow.errors import UserError
from contraflow.models.weights.weight_states import restoring
from contraflow.reward.oracle import FrozenLMOracle, GeneratingOracle
from contraflow.reward.oracle.local import Asking, LocalAnswerer
from contraflow.run.answerers import open_answerer
from contraflow.settings.compose import compose_config
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import answer_prompt
from contraflow.types import AskStyle
from support.edits import EXAMPLES, N_TOKENS, QUESTIONS, Wrapper
from support.families import tiny_model_of
from support.models import fresh_lm, tiny_model, word_tokenizer

PROMPT = answer_prompt(EXAMPLES)


def generating(model: nn.Module, batch_size: int = 2, **options: Any) -> GeneratingOracle:
    settings = OracleConfig(max_answer_tokens=N_TOKENS, batch_size=batch_size)
    return GeneratingOracle(model, word_tokenizer(), PROMPT, settings, "m", **options)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "opt"])
def test_answers_are_those_of_the_fast_oracle(architecture: str):
    fast = FrozenLMOracle(
        fresh_lm(architecture), PROMPT, OracleConfig(max_answer_tokens=N_TOKENS, batch_size=2)
    )
    model = tiny_model(architecture)
    # What a model's own settings say of sampling does not count.
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, no_repeat_ngram_size=1
    )
    questions = [*QUESTIONS, QUESTIONS[0]]
    pairs = zip(generating(model).answer(questions), fast.answer(questions), strict=True)
    for ours, theirs in pairs:
        assert ours.text == theirs.text
        assert ours.log_p == pytest.approx(theirs.log_p, abs=1e-4)


def greedily(model: nn.Module, oracle: GeneratingOracle, question: str) -> tuple[str, float]:
    """Answer one token at a time, from the whole text, without a cache."""
    ids = oracle._tokens.header + oracle._tokens.body(question)
    written: list[int] = []
    log_p = 0.0
    for _ in range(N_TOKENS):
        text = torch.tensor([ids + written])
        log_probs = model(input_ids=text, use_cache=False).logits[0, -1].double().log_softmax(-1)
        written.append(int(log_probs.argmax()))
        log_p += float(log_probs.max())
        if written[-1] in oracle._ends:
            break
    words = [i for i in written if i not in oracle._ends]
    return word_tokenizer().decode(words, skip_special_tokens=True).strip(), log_p


@pytest.mark.parametrize("family", ["gptj", "gpt_neo", "bloom", "mamba"])
@pytest.mark.filterwarnings("ignore")
def test_families_that_cannot_sample_answer(family: str):
    """Prompts of three lengths, states and learned, rotated and biased positions."""
    model = tiny_model_of(family)
    oracle = generating(model)
    for question, answer in zip(QUESTIONS, oracle.answer(QUESTIONS), strict=True):
        with torch.no_grad():
            text, log_p = greedily(model, oracle, question)
        assert answer.text == text
        assert answer.log_p == pytest.approx(log_p, abs=1e-3)


def test_a_wrapper_that_loses_positional_inputs_answers():
    plain, wrapped = (generating(m) for m in (tiny_model("llama"), Wrapper(tiny_model("llama"))))
    expected = plain.answer(QUESTIONS)
    for ours, theirs in zip(wrapped.answer(QUESTIONS), expected, strict=True):
        assert ours.text == theirs.text
        assert ours.log_p == pytest.approx(theirs.log_p, abs=1e-5)


def test_without_logits_there_is_a_text_and_no_log_p():
    """Old wrappers return the ids alone, with the prompt or without it."""

    class IdsAlone(Wrapper):
        def generate(self, **inputs: Any) -> Any:
            ids = super().generate(**inputs).sequences
            return ids if self.whole else ids[:, inputs["input_ids"].shape[1] :]

    expected = [a.text for a in generating(tiny_model("llama")).answer(QUESTIONS)]
    for whole in (True, False):
        model = IdsAlone(tiny_model("llama"))
        model.whole = whole
        answers = generating(model).answer(QUESTIONS)
        assert [a.text for a in answers] == expected
        assert all(math.isnan(a.log_p) for a in answers)


def test_prompts_of_a_batch_have_one_length():
    seen: list[tuple[int, ...]] = []

    class Watched(Wrapper):
        def generate(self, **inputs: Any) -> Any:
            seen.append(tuple(inputs["input_ids"].shape))
            assert inputs["attention_mask"].all()
            return super().generate(**inputs)

    words = ["rome ?", "city ?", "fact ?", "is rome ?"]
    generating(Watched(tiny_model("llama"))).answer(words)
    lengths = [width for _, width in seen]
    assert sorted(rows for rows, _ in seen) == [1, 1, 2]  # three of one length, two at a time
    assert len(set(lengths)) == 2


def test_the_logits_of_a_batch_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """BLOOM has 250,880 tokens: 64 answers of 20 tokens would be 1.3 GB."""
    monkeypatch.setattr("contraflow.reward.oracle.generating.MOST_LOGITS", 3 * 19 * N_TOKENS)
    model = tiny_model("llama")
    assert generating(model, batch_size=64).batch_size == 3
    assert generating(model, batch_size=2).batch_size == 2


def test_identity_tells_model_style_and_way_apart():
    model = tiny_model("llama")
    fast = FrozenLMOracle(fresh_lm(), PROMPT, OracleConfig(max_answer_tokens=N_TOKENS))
    whole = generating(model, line_breaks_end=False)
    other = GeneratingOracle(
        model, word_tokenizer(), PROMPT, OracleConfig(max_answer_tokens=N_TOKENS), "other"
    )
    identities = {generating(model).identity, whole.identity, other.identity, fast.identity}
    assert len(identities) == 4


def test_a_text_that_the_model_cannot_read_is_refused():
    model = tiny_model("gpt2", positions=24)
    with pytest.raises(UserError, match=r"^the question 'rome rome .* has room for .* shorten"):
        generating(model).answer(["rome " * 20])
    with pytest.raises(UserError, match=r"examples of a prompt .* room for 8; give prompt\.answer"):
        generating(tiny_model("gpt2", positions=8))


@pytest.mark.slow
def test_the_packaged_model_answers_the_same_both_ways():
    """In every style, its chat template with several special tokens among them."""
    config = compose_config()
    fast = open_answerer(config.model.name, config=config)
    assert isinstance(fast, LocalAnswerer)
    asking = Asking(config.prompt.answer, config.oracle)
    slow = LocalAnswerer(fast.base, asking, name="slow", identity="slow")
    questions = ["Who wrote Hamlet?", "What is the capital of Norway?", "In which country is it?"]
    for style in get_args(AskStyle):
        expected = fast.oracle(style).answer(questions)
        with restoring(fast.base.attention)():
            found = slow.oracle(style).answer(questions)
        assert [a.text for a in found] == [a.text for a in expected]
        assert [a.log_p for a in found] == pytest.approx([a.log_p for a in expected], abs=1e-3)
