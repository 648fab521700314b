"""Answers of the frozen model against a greedy loop that is written out."""

from __future__ import annotations

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from contraflow.errors import UserError
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.run.build import load_lm
from contraflow.settings.compose import compose_config
from contraflow.settings.models import LoraConfig, OracleConfig
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import Answer
from support.models import fresh_lm, renamed_tokenizer, tiny_model

PROMPT = "ask : who is rome\nfact : the city\nask : {question}\nfact :"
QUESTIONS = ["who is hamlet ?", "what is the capital of rome in the city of hamlet ?", "wrote ?"]
NEWLINE, PAD, UNKNOWN = 17, 0, 18


def naive(
    model: torch.nn.Module,
    lm: CausalLM,
    question: str,
    ends: set[int],
    n: int,
    prompt: str = PROMPT,
) -> Answer:
    """Answer greedily, one question at a time, without cache and padding.

    log P is that of every token written, the end included.
    """
    header, rest = prompt.split("ask : {question}")
    ids = lm.encode(header, first=True) + lm.encode(f"ask : {question}{rest}")
    written, log_p = [], 0.0
    for _ in range(n):
        log_probs = model(torch.tensor([ids + written])).logits[0, -1].double().log_softmax(-1)
        token = int(log_probs.argmax())
        log_p += log_probs[token].item()
        written.append(token)
        if token in ends:
            break
    return Answer(lm.decode([i for i in written if i not in ends]).strip(), log_p)


def oracle_of(lm: CausalLM, n: int = 6, batch_size: int = 64) -> FrozenLMOracle:
    return FrozenLMOracle(
        lm, answer_prompt(PROMPT), OracleConfig(max_answer_tokens=n, batch_size=batch_size)
    )


@pytest.fixture(params=["gpt2", "llama"])
def world(request: pytest.FixtureRequest) -> tuple[CausalLM, torch.nn.Module]:
    plain = tiny_model(request.param)
    plain.set_attn_implementation("eager")
    return fresh_lm(request.param), plain


def end_early(lm: CausalLM, ends: set[int]) -> None:
    """Let common words end an answer, so that the rows of a batch finish at different steps."""
    pieces = [lm.tokenizer.decode([i]) for i in range(len(lm.tokenizer))]

    def batch_decode(rows: list[list[int]]) -> list[str]:
        return ["\n" if row[0] in ends else pieces[row[0]] for row in rows]

    lm.tokenizer.batch_decode = batch_decode


@pytest.mark.defect(8)
@pytest.mark.parametrize("extra_ends", [set(), {3, 4, 5, 6, 7}, set(range(1, 19))])
def test_answers_equal_a_greedy_loop(world, extra_ends: set[int]):
    """Three prompts of 5 to 13 tokens in one batch; rows leave at different steps.

    The old design sliced log P_A at the width of the padded prompts, which is right for the longest
    one only.
    """
    lm, plain = world
    end_early(lm, extra_ends)
    ends = extra_ends | {NEWLINE, PAD}
    for question, answer in zip(QUESTIONS, oracle_of(lm).answer(QUESTIONS), strict=True):
        expected = naive(plain, lm, question, ends, 6)
        assert answer.text == expected.text
        assert answer.log_p == pytest.approx(expected.log_p, abs=1e-4)


@pytest.mark.defect(8)
def test_an_answer_is_the_same_alone_and_beside_longer_prompts(world):
    lm, _ = world
    together = oracle_of(lm).answer(QUESTIONS)
    alone = [oracle_of(lm, batch_size=1).answer([q])[0] for q in QUESTIONS]
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text and a.log_p == pytest.approx(b.log_p, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_answers_come_in_the_order_of_the_questions(world, batch_size: int):
    lm, _ = world
    repeated = [QUESTIONS[i] for i in (1, 0, 2, 0, 1, 1)]
    by_question = dict(zip(QUESTIONS, oracle_of(lm).answer(QUESTIONS), strict=True))
    got = oracle_of(lm, batch_size=batch_size).answer(repeated)
    for question, answer in zip(repeated, got, strict=True):
        assert answer.text == by_question[question].text
        assert answer.log_p == pytest.approx(by_question[question].log_p, abs=1e-4)


def test_equal_questions_are_answered_once(world, monkeypatch: pytest.MonkeyPatch):
    lm, _ = world
    oracle, prompts = oracle_of(lm), []
    prefill = lm.prefill

    def counting(prefix, rows, trees):
        prompts.extend(rows)
        return prefill(prefix, rows, trees)

    monkeypatch.setattr(lm, "prefill", counting)
    first = oracle.answer([QUESTIONS[0], QUESTIONS[0], QUESTIONS[1]])
    assert len(prompts) == 2
    assert oracle.answer([QUESTIONS[1], QUESTIONS[0]]) == [first[2], first[0]]
    assert len(prompts) == 2
    assert oracle.answer([]) == []


@pytest.mark.defect(14)
def test_the_oracle_is_the_model_without_the_samplers_adapter(world):
    """Both share one backbone: what the sampler learns must not change the answers."""
    lm, _ = world
    before = oracle_of(lm).answer(QUESTIONS)
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=2)
    LoraPolicy(lm, task_prompt("ask {subject}"), constraints, LoraConfig(r=2))
    with torch.no_grad():
        for p in lm.model.parameters():
            if p.requires_grad:
                p.fill_(0.5)
    assert oracle_of(lm).answer(QUESTIONS) == before
    assert lm.prefill(lm.prefix_cache(""), [[3]]).last_hidden.requires_grad, (
        "the adapter was left off"
    )


def test_a_leading_token_stands_first_also_without_a_header():
    """Models with a BOS token expect it once, at the beginning, with or without a header."""
    plain = tiny_model("llama")
    for prompt in ("{question}\nfact :", PROMPT):
        lm = fresh_lm("llama")
        lm.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<unk> $A", special_tokens=[("<unk>", 18)]
        )
        oracle = FrozenLMOracle(lm, answer_prompt(prompt), OracleConfig(max_answer_tokens=3))
        whole = lm.encode(prompt.format(question=QUESTIONS[0]), first=True)
        assert whole[0] == 18
        log_p, written = 0.0, []
        for _ in range(3):
            log_probs = plain(torch.tensor([whole + written])).logits[0, -1].log_softmax(-1)
            written.append(int(log_probs.argmax()))
            log_p += log_probs.max().item()
            if written[-1] in (NEWLINE, PAD):
                break
        assert oracle.answer(QUESTIONS[:1])[0].log_p == pytest.approx(log_p, abs=1e-4)


def test_identity_changes_with_model_prompt_and_length(world):
    """It is part of the key of stored rewards: another oracle must not find them."""
    lm, _ = world
    base = oracle_of(lm).identity
    assert base == oracle_of(lm).identity
    other_prompt = FrozenLMOracle(
        lm, answer_prompt("ask {question}"), OracleConfig(max_answer_tokens=6)
    ).identity
    other_model = CausalLM(lm.model, lm.tokenizer, "another")
    assert (
        len({base, oracle_of(lm, n=7).identity, other_prompt, oracle_of(other_model).identity}) == 4
    )


def test_examples_longer_than_the_context_are_refused_by_name():
    prompt = answer_prompt("ask : who is rome\nfact : the city\n" * 20 + "ask : {question}\nfact :")
    with pytest.raises(
        UserError, match=r"examples of a prompt .* room for 64; give .*prompt\.answer fewer"
    ):
        FrozenLMOracle(fresh_lm("gpt2"), prompt)


MANY = {3, 4, 5, 6, 7, 14, 15}  # words that the random models like


@pytest.mark.parametrize("named_by", ["generation config", "config", "special token", "unknown"])
def test_an_answer_stops_at_every_end_of_the_model(world, named_by: str):
    """Chat models name several; transformers' generate() stops at each of them."""
    lm, plain = world
    before = oracle_of(lm)
    ends = MANY
    if named_by == "generation config":
        lm.model.generation_config = GenerationConfig(eos_token_id=[PAD, *MANY])
    elif named_by == "config":
        lm.tokenizer = renamed_tokenizer({i: f"<|eot_{i}|>" for i in MANY})
        lm.model.config.eos_token_id = [PAD, *MANY]
    elif named_by == "special token":
        names = {i: f"<|role_{i}|>" for i in MANY}
        lm.tokenizer = renamed_tokenizer(names, additional_special_tokens=list(names.values()))
    else:
        ends = {UNKNOWN}
        lm.tokenizer = renamed_tokenizer({UNKNOWN: "<|endoftext|>"}, unk_token="<|endoftext|>")
    oracle = oracle_of(lm)
    assert set(oracle._ends.tolist()) == {NEWLINE, PAD} | ends
    for question, answer in zip(QUESTIONS, oracle.answer(QUESTIONS), strict=True):
        expected = naive(plain, lm, question, {NEWLINE, PAD} | ends, 6)
        assert answer.text == expected.text
        assert answer.log_p == pytest.approx(expected.log_p, abs=1e-4)
    assert oracle.identity != before.identity
    assert oracle.legacy_identity == before.identity


def test_a_word_is_no_end_by_the_default_of_an_architecture(world):
    """Llama's config says 2 unless it is told otherwise, and here 2 is "??"."""
    lm, _ = world
    assert lm.tokenizer.convert_ids_to_tokens(2) == "??"
    base = oracle_of(lm)
    lm.model.config.eos_token_id = 2
    lm.model.generation_config = GenerationConfig.from_model_config(lm.model.config)
    assert oracle_of(lm).identity == base.identity == base.legacy_identity


@pytest.mark.slow
def test_the_packaged_model_ends_at_each_of_its_special_tokens():
    lm = load_lm(compose_config())
    ends = oracle_of(lm)._ends.tolist()
    for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>", "\u010a"):
        assert lm.tokenizer.convert_tokens_to_ids(token) in ends


def test_the_cache_of_answers_is_bounded(world):
    lm, _ = world
    expected = oracle_of(lm).answer(QUESTIONS)
    oracle = FrozenLMOracle(
        lm, answer_prompt(PROMPT), OracleConfig(max_answer_tokens=6), cache_size=2
    )
    assert oracle.answer(QUESTIONS) == expected
    assert len(oracle._cache.answers) == 2
    assert [a.text for a in oracle.answer(QUESTIONS[::-1])] == [a.text for a in expected[::-1]]
    assert len(oracle._cache.answers) == 2


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "llama"])
def test_a_question_without_room_for_its_answer_is_refused(architecture: str):
    """It was an IndexError of the position embeddings, or on a GPU an assertion of the device."""
    lm = fresh_lm(architecture)
    oracle = oracle_of(lm)
    fixed = len(lm.encode(PROMPT, first=True)) - len(lm.encode("{question}"))
    longest = 64 - fixed - 5  # six tokens are answered, the last of them is not read
    assert len(oracle.answer(["rome " * longest])) == 1
    with pytest.raises(UserError, match=r"^the question 'rome rome .* has room for .* shorten the"):
        oracle.answer(["who wrote ?", "rome " * (longest + 1)])
