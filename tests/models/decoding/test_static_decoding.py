"""Decoding with fixed shapes against the eager decoder, token by token.

On a CPU the step runs without capture; `test_capture.py` is about capture.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding import static_decoding
from contraflow.models.decoding.decoder import EagerDecoder
from contraflow.models.decoding.static_decoding import StaticDecoder, StaticSteps, start_decoding
from contraflow.models.decoding.static_step import StaticStep, length_bucket, row_bucket
from contraflow.models.weights.weight_states import with_tensors
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.run import build
from contraflow.seeding import torch_rng
from contraflow.settings import Config, ModelConfig
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import answer_prompt
from contraflow.training import job
from support.decoding import HEADER, N_TOKENS, PROMPTS, both, policies
from support.models import ARCHITECTURES, fresh_lm, save_tiny_model
from support.runs import assert_same, lines, tiny_config


@pytest.fixture(params=ARCHITECTURES)
def lm(request: pytest.FixtureRequest) -> CausalLM:
    return fresh_lm(request.param)


@torch.no_grad()
def test_static_steps_give_the_eager_logits(lm: CausalLM) -> None:
    """20 texts from 3 prompts; at each step a third of them finishes, until 2 are left.

    The rows of the rest move from a bucket of 32 to buckets of 16 and 8.
    """
    eager, static, made = both(lm)
    rows = {"eager": torch.arange(20) % 3, "static": torch.arange(20) % 3}
    rng = torch.Generator().manual_seed(5)
    for _ in range(N_TOKENS):
        found = static.logits()[rows["static"]]
        torch.testing.assert_close(found, eager.logits()[rows["eager"]], atol=1e-4, rtol=0)
        token = torch.randint(3, 18, (len(found),), generator=rng)
        going = (
            torch.randperm(len(token), generator=rng)[: max(2, 2 * len(token) // 3)].sort().values
        )
        for name, decoder in (("eager", eager), ("static", static)):
            rows[name] = decoder.advance(rows[name][going], token[going])
    assert sorted(key[-2] for key in made._steps) == [8, 16]


@torch.no_grad()
def test_static_rows_may_branch_and_grow(lm: CausalLM) -> None:
    """3 texts become 20, which branch to 20 others, 7 and 12: rows repeat, and the bucket grows."""
    eager, static, _ = both(lm)
    rows = {"eager": torch.arange(3), "static": torch.arange(3)}
    rng = torch.Generator().manual_seed(6)
    n_before = 3
    for n in (20, 20, 7, 12):
        parent = torch.randint(0, n_before, (n,), generator=rng)
        token = torch.randint(3, 18, (n,), generator=rng)
        for name, decoder in (("eager", eager), ("static", static)):
            rows[name] = decoder.advance(rows[name][parent], token)
        found = static.logits()[rows["static"]]
        torch.testing.assert_close(found, eager.logits()[rows["eager"]], atol=1e-4, rtol=0)
        n_before = n


@torch.no_grad()
def test_without_a_header_too(lm: CausalLM) -> None:
    eager, static, _ = both(lm, header="")
    row = torch.tensor([0, 1, 1, 2])
    a, b = (decoder.advance(row, torch.tensor([4, 5, 6, 7])) for decoder in (eager, static))
    torch.testing.assert_close(static.logits()[b], eager.logits()[a], atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_step_that_is_used_again_remembers_nothing(lm: CausalLM) -> None:
    """The second decoding has shorter prompts and fewer texts in the same buffers."""
    _, first, made = both(lm)
    row = first.advance(torch.tensor([0, 1, 2, 2, 1]), torch.tensor([3, 4, 5, 6, 7]))
    first.advance(row, torch.tensor([8, 9, 10, 11, 12]))
    prefix = next(iter(made._steps.values()))._prefix
    actions = next(iter(made._steps.values()))._actions
    again = StaticDecoder(lm, lm.prefill(prefix, PROMPTS[:1]), N_TOKENS, actions, made)
    eager = EagerDecoder(lm, lm.prefill(prefix, PROMPTS[:1]), N_TOKENS, actions)
    zero, token = torch.tensor([0]), torch.tensor([9])
    again.advance(zero, token), eager.advance(zero, token)
    assert len(made._steps) == 1
    torch.testing.assert_close(again.logits()[:1], eager.logits(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.5])
def test_the_same_random_numbers_write_the_same_questions(
    lm: CausalLM, two_facts: list[Fact], temperature: float
) -> None:
    """24 questions of two facts with free, forced and forbidden stops, twice.

    The second time the buffers have been used before.
    """
    policy, switch = policies(lm)
    for seed in range(2):
        sampled = []
        for decoding in ("eager", "static"):
            switch(decoding)
            sampled.append(policy.sample(two_facts, 12, torch_rng("draws", seed), temperature))
        assert sampled[0].ids.tolist() == sampled[1].ids.tolist()
        assert sampled[0].lengths.tolist() == sampled[1].lengths.tolist()
        assert len(set(sampled[0].lengths.tolist())) > 1


def test_empty_rows_never_run_past_the_last_position(two_facts: list[Fact]) -> None:
    """10 texts in 16 rows, two to five positions further per decoding; the model has 64."""
    policy, switch = policies(fresh_lm("gpt2"))
    switch("static")
    for seed in range(40):
        policy.sample(two_facts, 5, torch_rng("draws", seed))


def test_a_step_of_the_optimizer_shows_in_the_next_draws(
    lm: CausalLM, two_facts: list[Fact]
) -> None:
    """A captured step reads the adapter at its address, so weights changed in place take effect."""
    policy, switch = policies(lm)
    switch("static")
    before = policy.sample(two_facts, 12, torch_rng("draws")).ids.tolist()
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(-1.0)
    after = policy.sample(two_facts, 12, torch_rng("draws")).ids.tolist()
    switch("eager")
    assert after != before
    assert after == policy.sample(two_facts, 12, torch_rng("draws")).ids.tolist()


def test_the_oracle_answers_the_same(lm: CausalLM) -> None:
    """Answers of different length; the backbone has an adapter, which is off here."""
    policies(lm)
    questions = [
        "who is hamlet ?",
        "what is the capital of rome in the city of hamlet ?",
        "wrote ?",
        "is ?",
    ]
    answers = []
    for decoding in ("eager", "static"):
        lm.decoding = decoding  # type: ignore[assignment]
        prompt = answer_prompt("ask : who is rome\nfact : the city\nask : {question}\nfact :")
        answers.append(
            FrozenLMOracle(lm, prompt, OracleConfig(max_answer_tokens=6, batch_size=3)).answer(
                questions
            )
        )
    assert [a.text for a in answers[0]] == [a.text for a in answers[1]]
    assert [a.log_p for a in answers[0]] == pytest.approx([a.log_p for a in answers[1]], abs=1e-4)


def test_a_whole_run_learns_the_same(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps with replay, tempering and validation: equal histories up to rounding."""
    histories = []
    for decoding in ("eager", "static"):
        lm = fresh_lm()
        lm.decoding = decoding  # type: ignore[assignment]
        monkeypatch.setattr(build, "load_lm", lambda *_, lm=lm, **__: lm)
        histories.append(lines(job.train(tiny_config(tiny, decoding))))
    assert_same(*histories)


def test_sizes() -> None:
    assert [row_bucket(n) for n in (1, 8, 9, 64, 65)] == [8, 8, 16, 64, 128]
    assert [length_bucket(n) for n in (1, 32, 33)] == [32, 32, 64]


def test_so_many_steps_are_kept_and_the_last_used_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_decoding, "MOST_STEPS", 2)
    lm = fresh_lm("llama")
    _, _, made = both(lm)
    context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS)
    sizes = {n: made.get(lm, context.prefix, context.cache, n, 32, None) for n in (8, 16)}
    assert made.get(lm, context.prefix, context.cache, 8, 32, None) is sizes[8]
    made.get(lm, context.prefix, context.cache, 32, 32, None)
    assert [key[-2] for key in made._steps] == [8, 32]


@torch.no_grad()
def test_weights_in_another_place_have_steps_of_their_own() -> None:
    """A recorded step reads weights where they were: an edited model's are somewhere else."""
    lm, made = fresh_lm("llama"), StaticSteps()
    prefix = lm.prefix_cache(HEADER)
    context = lm.prefill(prefix, PROMPTS)
    weight = lm.model.get_parameter("model.layers.1.mlp.down_proj.weight")
    edited = with_tensors([(weight, weight.detach() + 0.1)])

    def step() -> StaticStep:
        return made.get(lm, prefix, context.cache, 8, 32, None)

    plain = step()
    with edited():
        other = step()
        assert step() is other is not plain
    assert step() is plain


def test_sizes_share_one_memory_until_a_larger_one_comes() -> None:
    lm, made = fresh_lm("llama"), StaticSteps()
    context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS)
    large, small, larger = (
        made.get(lm, context.prefix, context.cache, n, 32, None) for n in (16, 8, 32)
    )
    places = [step._cache.layers[0].keys.data_ptr() for step in (large, small, larger)]
    assert places[0] == places[1] != places[2]


def test_auto_is_eager_without_a_gpu_and_the_config_chooses(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "llama")
    for word, expected in (("auto", False), ("eager", False), ("static", True)):
        config = Config(model=ModelConfig(name=str(folder), device="cpu", decoding=word))
        lm = build.load_lm(config)
        assert lm.decodes_statically is expected
        context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS)
        made = start_decoding(lm, context, 3, 4, StaticSteps())
        assert isinstance(made, StaticDecoder if expected else EagerDecoder)
    with pytest.raises(
        UserError, match=r"model.decoding=graph: must be one of auto, eager, static"
    ):
        ModelConfig(decoding="graph")
