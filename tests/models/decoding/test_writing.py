"""Texts that are written by recorded steps: what the host reads, and what it does when it is told.

That both loops write the same texts is tested in `test_static_decoding.py`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from contraflow.facts import Fact
from contraflow.models.decoding import static_step, writing
from contraflow.models.decoding.static_step import Size, StaticStep
from contraflow.models.decoding.texts import Chosen, Request, Texts
from contraflow.policy.draw import Sampling
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import answer_prompt
from support.decoding import policies
from support.host_reads import HostReads
from support.models import fresh_lm

PROMPT = "ask : who is rome\nfact : the city\nask : {question}\nfact :"


def long_policy(n_tokens: int) -> LoraPolicy:
    """A policy on a GPU's path, whose questions have exactly so many tokens."""
    policy, switch = policies(fresh_lm("gpt2", positions=128))
    policy.constraints = replace(policy.constraints, min_len=n_tokens, max_len=n_tokens)
    switch("static")
    return policy


def reads_of_sampling(two_facts: list[Fact], n_tokens: int) -> int:
    policy = long_policy(n_tokens)
    with HostReads() as reads:
        policy.sample(two_facts, 12, torch_rng("draws"))
    return reads.n


def test_a_draw_reads_no_value_per_token(two_facts: list[Fact]) -> None:
    """Nobody asks before the shortest length; at the end the lengths are read."""
    assert reads_of_sampling(two_facts, 8) == reads_of_sampling(two_facts, 40) == 1


def test_the_host_asks_every_few_tokens_who_goes_on(two_facts: list[Fact]) -> None:
    """Of 6 tokens, 2 are forced: it asks once, before the fifth, and reads the lengths."""
    policy, switch = policies(fresh_lm("gpt2"))
    switch("static")
    with HostReads() as reads:
        policy.sample(two_facts, 12, torch_rng("draws"))
    assert reads.seen == {"tolist": 1, "_local_scalar_dense": 1}


@pytest.mark.parametrize("n_tokens", [6, 30])
def test_an_answer_is_read_when_it_is_complete(n_tokens: int) -> None:
    """Ids, lengths and log-probabilities once, and every four tokens whether all have ended."""
    lm = fresh_lm("llama", positions=128)
    lm.decoding = "static"
    oracle = FrozenLMOracle(lm, answer_prompt(PROMPT), OracleConfig(max_answer_tokens=n_tokens))
    oracle._ends = oracle._ends[:0]  # no token ends an answer
    with HostReads() as reads:
        oracle.answer(["who is hamlet ?", "wrote ?"])
    assert reads.seen == {"tolist": (n_tokens - 1) // writing.ASK_EVERY + 3}


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_when_the_host_asks_changes_no_question(
    monkeypatch: pytest.MonkeyPatch, two_facts: list[Fact], architecture: str, every: int
) -> None:
    """Texts move to smaller sizes at other tokens, or not at all, and stay the same."""
    policy, switch = policies(fresh_lm(architecture))
    expected = policy.sample(two_facts, 17, torch_rng("draws"))
    switch("static")
    monkeypatch.setattr(writing, "ASK_EVERY", every)
    monkeypatch.setattr(static_step, "SHRINK", 2)
    found = policy.sample(two_facts, 17, torch_rng("draws"))
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
    assert len({step.size.rows for step in policy._static_steps._steps.values()}) > 1


def test_a_question_depends_on_its_own_noise_alone(two_facts: list[Fact]) -> None:
    """The same question of 12 comes out whoever is sampled beside it."""
    policy, _ = policies(fresh_lm("llama"))
    together = policy.sample(two_facts, 6, torch_rng("draws"))
    noise = torch.rand(policy.constraints.max_len, 12, generator=torch_rng("draws"))
    context = policy.lm.prefill(policy._prefix, policy.encode(two_facts))
    for i in (0, 5, 11):
        request = Request(Sampling(policy.constraints), noise[:, i : i + 1], torch.ones(()))
        alone = writing.write(
            policy.lm,
            context,
            torch.tensor([i // 6]),
            request,
            policy._static_steps,
            policy.constraints.action_ids,
        )
        length = int(together.lengths[i])
        assert int(alone.lengths[0]) == length
        assert alone.ids[0, :length].tolist() == together.ids[i, :length].tolist()


@pytest.mark.parametrize("at", ["load", "run"])
def test_no_memory_in_the_middle_goes_on_eagerly(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    two_facts: list[Fact],
    at: str,
) -> None:
    """All questions are written again, from the same random numbers."""
    policy, switch = policies(fresh_lm("gpt2"))
    expected = policy.sample(two_facts, 12, torch_rng("draws")).ids.tolist()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(StaticStep, at, full)
    switch("static")
    for _ in range(2):
        assert policy.sample(two_facts, 12, torch_rng("draws")).ids.tolist() == expected
    printed = capsys.readouterr().err
    assert printed.count("decoding goes on without CUDA graphs (CUDA out of memory") == 1
    assert policy._static_steps._memory is None, "what was allocated is given back"


def test_texts_end_once_and_keep_what_they_had() -> None:
    """Three texts by hand: the second ends at its second token, the third at once."""
    texts = Texts(3, 4, torch.device("cpu"))
    texts.going.fill_(True)
    for tokens, ends in (([5, 6, 7], [0, 0, 1]), ([8, 9, 7], [0, 1, 0]), ([3, 3, 3], [0, 1, 1])):
        texts.add_(
            Chosen(torch.tensor(tokens), torch.tensor(ends).bool(), torch.tensor([-1.0] * 3))
        )
    assert texts.written.ids.tolist() == [[5, 8, 3, 0], [6, 0, 0, 0], [0, 0, 0, 0]]
    assert texts.written.lengths.tolist() == [3, 1, 0]
    assert texts.written.log_p.tolist() == [-3.0, -2.0, -1.0]
    assert texts.going.tolist() == [True, False, False]


def test_a_smaller_size_is_used_for_a_quarter_of_the_rows() -> None:
    size = Size.of(64, width=30, n_tokens=25)
    assert size == Size(64, 64)
    assert [size.holding(n).rows for n in (64, 33, 17, 16, 3)] == [64, 64, 64, 16, 8]
