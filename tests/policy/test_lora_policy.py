"""Sampling and scoring are one distribution, whatever is cached, shared, padded or masked."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter

import pytest
import torch

from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints, question_constraints
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import task_prompt
from contraflow.types import Questions
from support.models import fresh_lm

PROMPT = "fact : the capital of rome\nask : who is rome\nfact : {edit_fact}\nask :"


def policy_with(
    lm: CausalLM, min_len: int = 2, max_len: int = 4, prompt: str = PROMPT
) -> LoraPolicy:
    constraints = question_constraints(
        lm.tokenizer, vocabulary="latin", min_len=min_len, max_len=max_len
    )
    policy = LoraPolicy(lm, task_prompt(prompt), constraints, LoraConfig(r=4, alpha=8))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # B is zero at the start, which would hide the adapter
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=generator)
    return policy


def naive_log_probs(
    policy: LoraPolicy, fact: Fact, ids: list[int], adapter: bool = True
) -> list[float]:
    """Compute log P of each token and the stop from one plain forward per prefix.

    Masks are applied by hand. The header is read with the adapter off, as the environment defines
    it, so its keys are put in a cache.
    """
    from transformers import DynamicCache

    lm, c = policy.lm, policy.constraints
    header = lm.encode(policy.prompt.header, first=True)
    body = lm.encode(
        policy.prompt.body(subject=fact.subject, edit_fact=fact.edit_fact), first=not header
    )
    stop = int(c.action_ids[-1])
    values = []
    for t, token in enumerate([*ids, stop]):
        cache = DynamicCache()
        if header:
            with lm.frozen():
                lm.model(torch.tensor([header]), past_key_values=cache, use_cache=True)
        sequence = torch.tensor([body + ids[:t]])
        if adapter:
            out = lm.model(sequence, past_key_values=cache, use_cache=True)
        else:
            with lm.frozen():
                out = lm.model(sequence, past_key_values=cache, use_cache=True)
        logits = out.logits[0, -1].double()
        allowed = set(c.action_ids.tolist())
        if t < c.min_len:
            allowed.discard(stop)
        if t >= c.max_len:
            allowed = {stop}
        keep = torch.tensor(sorted(allowed))
        values.append(float(logits[token] - logits[keep].logsumexp(0)))
    return values


@pytest.fixture
def some_questions(tiny_lm: CausalLM) -> list[list[int]]:
    words = lambda *w: [tiny_lm.tokenizer.convert_tokens_to_ids(x) for x in w]  # noqa: E731
    return [words("who", "is"), words("who", "wrote", "hamlet"), words("what", "is", "the", "city")]


def test_evaluate_equals_plain_forwards(tiny_lm, two_facts, some_questions):
    policy = policy_with(tiny_lm)
    questions = stack_questions(some_questions * 2, torch.device("cpu"))
    index = torch.tensor([0, 0, 0, 1, 1, 1])
    paths = policy.evaluate(two_facts, index, questions)
    for row, (fact, ids) in enumerate(itertools.product(two_facts, some_questions)):
        expected = naive_log_probs(policy, fact, ids)
        got = [*paths.log_pf[row, : len(ids)].tolist(), float(paths.log_p_stop[row])]
        assert got == pytest.approx(expected, abs=1e-4)


def test_prior_is_the_same_pass_with_the_adapter_off(tiny_lm, two_facts, some_questions):
    policy = policy_with(tiny_lm)
    paths = policy.prior(
        two_facts, torch.tensor([1, 1, 1]), stack_questions(some_questions, torch.device("cpu"))
    )
    for row, ids in enumerate(some_questions):
        expected = naive_log_probs(policy, two_facts[1], ids, adapter=False)
        assert float(paths.log_p_question[row]) == pytest.approx(sum(expected), abs=1e-4)


def test_works_without_any_header(tiny_lm, two_facts, some_questions):
    policy = policy_with(tiny_lm, prompt="ask : {edit_fact} :")
    paths = policy.evaluate(
        two_facts, torch.tensor([0, 1, 1]), stack_questions(some_questions, torch.device("cpu"))
    )
    expected = naive_log_probs(policy, two_facts[0], some_questions[0])
    assert float(paths.log_p_question[0]) == pytest.approx(sum(expected), abs=1e-4)


@pytest.mark.defect(2)
def test_the_stop_is_free_where_forced_and_masked_before_min_len(
    tiny_lm, two_facts, some_questions
):
    """The old design masked it when sampling and not when scoring."""
    paths = policy_with(tiny_lm).evaluate(
        two_facts, torch.tensor([0]), stack_questions(some_questions[2:], "cpu")
    )
    assert paths.log_pterm[0, :2].tolist() == [-math.inf, -math.inf]
    assert float(paths.log_pterm[0, 4]) == 0.0


def all_questions(constraints: Constraints) -> Questions:
    tokens = constraints.action_ids[:-1].tolist()
    lengths = range(constraints.min_len, constraints.max_len + 1)
    rows = [list(q) for n in lengths for q in itertools.product(tokens, repeat=n)]
    return stack_questions(rows, torch.device("cpu"))


def small_space(policy: LoraPolicy, n_tokens: int, min_len: int, max_len: int) -> LoraPolicy:
    ids = torch.cat([policy.constraints.action_ids[:n_tokens], policy.constraints.action_ids[-1:]])
    policy.constraints = Constraints(ids, min_len, max_len)
    return policy


def test_probabilities_of_all_questions_sum_to_one(tiny_lm, two_facts):
    policy = small_space(policy_with(tiny_lm), 5, 1, 3)
    questions = all_questions(policy.constraints)
    assert len(questions.ids) == 5 + 25 + 125
    for fact in (0, 1):
        paths = policy.evaluate(two_facts, torch.full((155,), fact), questions)
        assert float(paths.log_p_question.exp().sum()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.defect(2)
def test_draws_follow_the_evaluated_probabilities(tiny_lm, two_facts):
    """20,000 samples: every frequency is within 5 standard errors of its probability."""
    policy = small_space(policy_with(tiny_lm), 3, 1, 2)
    questions = all_questions(policy.constraints)
    exact = policy.evaluate(
        two_facts[:1], torch.zeros(len(questions.ids), dtype=torch.long), questions
    )
    probabilities = exact.log_p_question.exp().tolist()
    sampled = policy.sample(two_facts[:1], 20_000, torch_rng("draws"))
    counts: dict[tuple[int, ...], int] = {}
    for ids, n in zip(sampled.ids.tolist(), sampled.lengths.tolist(), strict=True):
        counts[tuple(ids[:n])] = counts.get(tuple(ids[:n]), 0) + 1
    for ids, n, p in zip(
        questions.ids.tolist(), questions.lengths.tolist(), probabilities, strict=True
    ):
        error = math.sqrt(p * (1 - p) / 20_000)
        assert abs(counts.get(tuple(ids[:n]), 0) / 20_000 - p) < 5 * error + 1e-9


@pytest.mark.defect(2)
def test_a_temperature_changes_the_draws_and_not_the_scores(tiny_lm, two_facts):
    policy = small_space(policy_with(tiny_lm), 3, 1, 1)
    questions = all_questions(policy.constraints)
    exact = (
        policy.evaluate(two_facts[:1], torch.zeros(3, dtype=torch.long), questions)
        .log_pf[:, 0]
        .double()
    )
    expected = (exact / 0.5).softmax(0)
    sampled = policy.sample(two_facts[:1], 20_000, torch_rng("tempered"), temperature=0.5)
    for token, p in zip(questions.ids[:, 0].tolist(), expected.tolist(), strict=True):
        assert float((sampled.ids[:, 0] == token).double().mean()) == pytest.approx(p, abs=0.02)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tempered_draws_follow_the_tempered_probabilities(tiny_lm, two_facts, temperature: float):
    """Of whole questions, each step normalized by itself: they sum to 1 and fit 20,000 samples."""
    policy = small_space(policy_with(tiny_lm), 3, 1, 2)
    questions = all_questions(policy.constraints)
    index = torch.zeros(len(questions.ids), dtype=torch.long)
    paths = policy.evaluate(two_facts[:1], index, questions, temperature)
    probabilities = paths.log_p_question.exp()
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-4)
    sampled = policy.sample(two_facts[:1], 20_000, torch_rng("tempered"), temperature=temperature)
    found = Counter(policy.token_rows(sampled))
    for ids, p in zip(policy.token_rows(questions), probabilities.tolist(), strict=True):
        assert abs(found[ids] / 20_000 - p) < 5 * math.sqrt(p * (1 - p) / 20_000) + 1e-9


def test_samples_follow_their_stream_alone(tiny_lm, two_facts):
    policy = policy_with(tiny_lm)
    before = torch.random.get_rng_state()
    first, second = (policy.sample(two_facts, 4, torch_rng("s", 1)) for _ in range(2))
    assert torch.equal(first.ids, second.ids)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.defect(7)
def test_questions_never_hold_another_question_mark(tiny_lm, two_facts):
    """The old design wrote, scored and answered "????"."""
    policy = policy_with(tiny_lm, 1, 4)
    marks = {1, 2}  # ? and ??
    sampled = policy.sample(two_facts, 200, torch_rng("marks"))
    for ids, n in zip(sampled.ids.tolist(), sampled.lengths.tolist(), strict=True):
        assert not marks & set(ids[:n])
    assert all(text.count("?") == 1 for text in policy.texts(sampled))


def test_gradients_through_a_shared_prompt_are_those_of_each(tiny_lm, two_facts, some_questions):
    policy = policy_with(tiny_lm)
    trained = [p for p in tiny_lm.model.parameters() if p.requires_grad]

    def gradient(rows: list[int]) -> list[torch.Tensor]:
        picked = stack_questions([some_questions[r] for r in rows], torch.device("cpu"))
        paths = policy.evaluate(two_facts, torch.tensor([r % 2 for r in rows]), picked)
        return list(torch.autograd.grad(paths.log_p_question.sum(), trained))

    together = gradient([0, 1, 2])
    apart = [sum(parts) for parts in zip(*(gradient([r]) for r in range(3)), strict=True)]
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_too_long_prompt_is_refused_with_the_fact_named(tiny_lm):
    from contraflow.errors import UserError

    long = Fact(fact_id="xyz", subject="rome " * 80, edit_fact="rome " * 80)
    with pytest.raises(UserError, match="fact xyz"):
        policy_with(tiny_lm).sample([long], 1, torch_rng("x"))


def test_all_linear_adapts_every_linear_layer_but_the_head(tiny_lm: CausalLM):
    """One preset fits GPT-2 (4 Conv1D per layer) and Llama (7 Linear per layer)."""
    constraints = question_constraints(tiny_lm.tokenizer, vocabulary="latin", min_len=2, max_len=4)
    LoraPolicy(
        tiny_lm, task_prompt(PROMPT), constraints, LoraConfig(r=4, target_modules=["all-linear"])
    )
    adapted = {
        n.rsplit(".lora_A", 1)[0] for n, _ in tiny_lm.model.named_parameters() if ".lora_A" in n
    }
    per_layer = 4 if any("c_attn" in name for name in adapted) else 7
    assert len(adapted) == 2 * per_layer
    assert not any("lm_head" in name or "wte" in name or "embed" in name for name in adapted)


def test_a_sampler_is_made_without_a_warning() -> None:
    """Else PEFT asks transformers for a name that is deprecated, which no user can mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        policy_with(fresh_lm())
