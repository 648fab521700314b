"""Sampling without replacement, compared with its exact law on spaces that can be enumerated."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from contraflow.errors import UserError
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.facts import Fact
from contraflow.policy.distinct import MOST_WIDENING, DistinctQuestions, sample_distinct
from contraflow.policy.inclusion import log_inclusion
from contraflow.policy.lora import LoraPolicy
from contraflow.seeding import torch_rng
from support.decoding import policies
from support.facts import FACTS as TWO_FACTS
from support.models import fresh_lm
from support.tables import small_policy

N_DRAWS = 1000  # samples of one fact; each has its own noise


def space_of(n_tokens: int, max_len: int) -> Space:
    """Return a space whose adapter is not zero, so that P_F and P_Q differ."""
    space = make_space(
        architecture="llama", n_tokens=n_tokens, max_len=max_len, reward="table", seed=0
    )
    with torch.no_grad():
        for name, parameter in space.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))
    return space


@pytest.fixture(scope="module")
def six() -> Space:
    """2 + 4 questions."""
    return space_of(2, 2)


@pytest.fixture(scope="module")
def many() -> Space:
    """3 + 9 + 27 questions."""
    return space_of(3, 3)


def drawn_rows(space: Space, drawn: DistinctQuestions, n: int) -> Tensor:
    """Number of each question in the space [draws n]."""
    number = {ids: i for i, ids in enumerate(space.questions)}
    rows = [number[ids] for ids in space.policy.token_rows(drawn.questions)]
    return torch.tensor(rows).view(-1, n)


def log_prior(space: Space, fact: Fact) -> Tensor:
    with space.policy.lm.frozen():
        return space.log_pf(fact)[0]


def probability(p: list[float], order: tuple[int, ...]) -> float:
    """Probability of drawing these, in this order, each from what is left."""
    result, left = 1.0, 1.0
    for i in order:
        result *= p[i] / left
        left -= p[i]
    return result


def assert_frequencies(orders: Tensor, p: list[float], n: int) -> None:
    """Every ordered sample is as frequent as it should be, within 4.5 standard errors."""
    counts = Counter(map(tuple, orders.tolist()))
    total = 0.0
    for order in itertools.permutations(range(len(p)), n):
        expected = probability(p, order)
        total += expected
        error = math.sqrt(len(orders) * expected * (1 - expected))
        assert abs(counts[order] - len(orders) * expected) <= 4.5 * error + 1
    assert total == pytest.approx(1)


@pytest.mark.parametrize("frozen", [False, True])
def test_every_ordered_sample_has_its_exact_probability(six: Space, frozen: bool) -> None:
    """All 120 ordered triples of six questions: the first is a draw of P, the next of the rest."""
    log_p = log_prior(six, FACTS[0]) if frozen else six.log_pf(FACTS[0])[0]
    drawn = sample_distinct(six.policy, [FACTS[0]] * N_DRAWS, 3, torch_rng("orders"), frozen=frozen)
    assert_frequencies(drawn_rows(six, drawn, 3), log_p.exp().tolist(), 3)


def test_inclusion_frequencies_match_enumeration(six: Space) -> None:
    """The share of samples of 2 with a question, for all six, within 4.5 standard errors."""
    p = six.log_pf(FACTS[1])[0].exp().tolist()
    drawn = sample_distinct(six.policy, [FACTS[1]] * N_DRAWS, 2, torch_rng("inclusion"))
    found = drawn_rows(six, drawn, 2).flatten().bincount(minlength=6) / N_DRAWS
    for i in range(6):
        orders = itertools.permutations(range(6), 2)
        expected = sum(probability(p, order) for order in orders if i in order)
        error = math.sqrt(expected * (1 - expected) / N_DRAWS)
        assert abs(float(found[i]) - expected) <= 4.5 * error


@pytest.fixture(scope="module")
def samples(many: Space) -> DistinctQuestions:
    return sample_distinct(many.policy, [FACTS[0]] * 3 * N_DRAWS, 5, torch_rng("weights"))


def z_score(weighted: Tensor, n: int, exact: float) -> float:
    """Standard errors between the mean over samples of Σ weight · h and its exact value."""
    sums = weighted.view(-1, n).sum(1)
    return abs(float(sums.mean()) - exact) / float(sums.std() / math.sqrt(len(sums)))


def values_of(name: str, n: int) -> Tensor:
    """h of every question: of one alone, of each third one, or an arbitrary number."""
    i = torch.arange(n, dtype=torch.float64)
    return {"one": i == 7, "third": i % 3 == 0, "any": (i * 12.9898).sin() + 0.5}[name].double()


@pytest.mark.parametrize("h", ["one", "third", "any"])
@pytest.mark.parametrize("reference", ["policy", "prior"])
def test_weighted_means_are_unbiased(
    many: Space, samples: DistinctQuestions, h: str, reference: str
) -> None:
    """Horvitz-Thompson within 3 standard errors, of P_F and of P_Q, from draws of P_F."""
    log_ref = many.log_pf(FACTS[0])[0] if reference == "policy" else log_prior(many, FACTS[0])
    values = values_of(h, len(many.questions))
    rows = drawn_rows(many, samples, 5).flatten()
    weights = (log_ref[rows] - samples.log_inclusion).exp()
    assert z_score(weights * values[rows], 5, float(log_ref.exp() @ values)) < 3


@pytest.mark.parametrize("wrong", ["smallest", "uniform", "policy alone"])
def test_wrong_weights_are_biased(many: Space, samples: DistinctQuestions, wrong: str) -> None:
    """The share of every third question under P_Q is then off by over 3 standard errors."""
    log_ref = log_prior(many, FACTS[0])
    values = values_of("third", len(many.questions))
    rows = drawn_rows(many, samples, 5).flatten()
    smallest = samples.log_smallest[samples.fact_index]
    log_weights = {
        "smallest": log_ref[rows] - log_inclusion(samples.log_p, smallest),
        "uniform": torch.full_like(samples.log_p, -math.log(5)),
        "policy alone": samples.log_p - samples.log_inclusion,
    }[wrong]
    assert z_score(log_weights.exp() * values[rows], 5, float(log_ref.exp() @ values)) > 3


def test_thresholds_need_noise_at_the_root(samples: DistinctQuestions) -> None:
    """The first of five is a sample of one, whose weights have the mean 1.

    Without noise at the root every largest sum would be 0, and the mean far from 1.
    """
    gumbel = samples.gumbel.view(-1, 5)
    log_p = samples.log_p.view(-1, 5)[:, 0]
    right = log_p - log_inclusion(log_p, gumbel[:, 1])
    wrong = log_p - log_inclusion(log_p, gumbel[:, 1] - gumbel[:, 0])
    assert z_score(right.exp(), 1, 1.0) < 3
    assert z_score(wrong.exp(), 1, 1.0) > 30


def test_a_sample_has_no_repeats_and_falls(samples: DistinctQuestions, many: Space) -> None:
    rows = drawn_rows(many, samples, 5)
    assert all(len(set(row)) == 5 for row in rows.tolist())
    gumbel = samples.gumbel.view(-1, 5)
    assert bool((gumbel.diff(dim=1) < 0).all())
    assert torch.equal(gumbel[:, -1], samples.log_smallest)
    assert bool((samples.log_threshold < samples.log_smallest).all())


def test_log_p_is_that_of_evaluate(samples: DistinctQuestions, many: Space) -> None:
    log_p = many.log_pf(FACTS[0])[0]
    expected = log_p[drawn_rows(many, samples, 5).flatten()]
    torch.testing.assert_close(samples.log_p, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [6, 7, 50])
def test_more_than_the_space_gives_the_whole_space(six: Space, n: int) -> None:
    drawn = sample_distinct(six.policy, FACTS, n, torch_rng("all"))
    assert drawn.counts.tolist() == [6, 6]
    rows = six.policy.token_rows(drawn.questions)
    assert set(rows[:6]) == set(rows[6:]) == set(six.questions)
    assert drawn.log_threshold.tolist() == [-math.inf] * 2
    assert drawn.log_inclusion.tolist() == [0.0] * 12
    assert bool(drawn.log_smallest.isinf().all()) == (n > 6)


def test_a_smaller_sample_is_the_start_of_a_larger_one(many: Space) -> None:
    """Also beside other facts: the noise belongs to the path, not to the batch."""
    small = sample_distinct(many.policy, FACTS[:1], 3, torch_rng("nested"))
    large = sample_distinct(many.policy, [*FACTS, FACTS[0]], 20, torch_rng("nested"))
    rows = many.policy.token_rows(large.questions)
    assert rows[:3] == many.policy.token_rows(small.questions)
    torch.testing.assert_close(large.gumbel[:3], small.gumbel, atol=1e-5, rtol=0)
    assert rows[:20] != rows[40:]  # the same fact twice: two samples


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("frozen", [False, True])
def test_eager_and_static_decoders_agree(architecture: str, frozen: bool) -> None:
    """Rows branch and finish; prompts are of unequal length."""
    policy, switch = policies(fresh_lm(architecture))
    found = []
    for decoding in ("eager", "static"):
        switch(decoding)
        found.append(sample_distinct(policy, TWO_FACTS, 20, torch_rng("d"), frozen=frozen))
    eager, static = found
    assert policy.token_rows(eager.questions) == policy.token_rows(static.questions)
    torch.testing.assert_close(eager.gumbel, static.gumbel, atol=1e-4, rtol=0)


def test_frozen_draws_are_those_without_an_adapter() -> None:
    policy, _ = policies(fresh_lm())
    plain = LoraPolicy(fresh_lm(), policy.prompt, policy.constraints, None)
    frozen = sample_distinct(policy, TWO_FACTS, 9, torch_rng("f"), frozen=True)
    without = sample_distinct(plain, TWO_FACTS, 9, torch_rng("f"))
    trained = sample_distinct(policy, TWO_FACTS, 9, torch_rng("f"))
    assert plain.token_rows(without.questions) == policy.token_rows(frozen.questions)
    torch.testing.assert_close(frozen.log_p, without.log_p, atol=1e-5, rtol=0)
    assert policy.token_rows(trained.questions) != policy.token_rows(frozen.questions)


@pytest.mark.parametrize("temperature", [0.3, 2.5])
def test_log_p_is_that_of_the_temperature(temperature: float) -> None:
    policy, _ = policies(fresh_lm())
    drawn = sample_distinct(policy, TWO_FACTS, 9, torch_rng("t"), temperature=temperature)
    with torch.no_grad():
        paths = policy.evaluate(TWO_FACTS, drawn.fact_index, drawn.questions, temperature)
    expected = paths.log_p_question.double()
    torch.testing.assert_close(drawn.log_p, expected, atol=1e-4, rtol=1e-5)


def test_near_temperature_zero_the_first_is_greedy(many: Space) -> None:
    greedy = sample_distinct(many.policy, FACTS, 1, torch_rng("a"), temperature=1e-9)
    again = sample_distinct(many.policy, FACTS, 4, torch_rng("b"), temperature=1e-9)
    assert many.policy.token_rows(again.questions)[::4] == many.policy.token_rows(greedy.questions)
    assert bool(again.log_p.isfinite().all() & again.gumbel.isfinite().all())
    assert greedy.log_p.exp().tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(("n", "temperature"), [(0, 1.0), (1, 0.0), (1, math.nan)])
def test_bad_numbers_are_refused(six: Space, n: int, temperature: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        sample_distinct(six.policy, FACTS, n, torch_rng("x"), temperature=temperature)


def test_a_prompt_that_is_too_long_is_refused() -> None:
    long = Fact(fact_id="long", subject="rome", edit_fact="rome " * 80)
    with pytest.raises(UserError, match="fact long: its prompt has"):
        sample_distinct(small_policy(fresh_lm()), [long], 2, torch_rng("x"))


def first_word(text: str) -> str:
    return text.split(maxsplit=1)[0].rstrip("?")


def test_merged_texts_are_drawn_as_wholes(many: Space) -> None:
    """Questions of one first word are one: each group is drawn by the sum of its questions."""
    p = many.log_pf(FACTS[0])[0].exp()
    words = [ids[0] for ids in many.questions]
    groups = [float(sum(p[i] for i, w in enumerate(words) if w == g)) for g in sorted(set(words))]
    rng = torch_rng("groups")
    drawn = sample_distinct(many.policy, [FACTS[0]] * 500, 2, rng, same=first_word)
    first = torch.tensor([ids[0] for ids in many.policy.token_rows(drawn.questions)])
    assert_frequencies((first - min(words)).view(-1, 2), groups, 2)


def test_weights_of_merged_texts_are_unbiased(many: Space) -> None:
    """The two groups of one text here are one question each; the third holds all others.

    The threshold is that of the texts, so the weights of those two have their exact means.
    """
    alone = {many.policy.question_text(ids) for ids in many.questions[:2]}
    rng = torch_rng("texts")
    drawn = sample_distinct(
        many.policy,
        [FACTS[0]] * N_DRAWS,
        1,
        rng,
        same=lambda text: text if text in alone else "",
    )
    p = many.log_pf(FACTS[0])[0].exp()
    weights = (drawn.log_p - drawn.log_inclusion).exp()
    rows = drawn_rows(many, drawn, 1).flatten()
    assert z_score(weights * (rows < 2), 1, float(p[:2].sum())) < 3


@pytest.mark.parametrize("n", [1, 2])
def test_all_drawn_spellings_of_a_text_weigh_for_it(many: Space, n: int) -> None:
    """Texts of 13 spellings each: Σ weight · h has the mean of h, for h of each text, and for 1.

    The question's own weight, without the other spellings that were drawn, has a mean below that.
    """
    p = many.log_pf(FACTS[0])[0].exp()
    words = torch.tensor([ids[0] for ids in many.questions])
    rng = torch_rng("spellings", n)
    drawn = sample_distinct(many.policy, [FACTS[0]] * N_DRAWS, n, rng, same=first_word)
    assert drawn.counts.tolist() == [n] * N_DRAWS
    weights = (drawn.log_p - drawn.log_inclusion).exp()
    text = words[drawn_rows(many, drawn, n).flatten()]
    for word in words.unique():
        assert z_score(weights * (text == word), n, float(p[words == word].sum())) < 3
    assert z_score(weights, n, 1.0) < 3
    alone = log_inclusion(drawn.log_p, drawn.log_threshold[drawn.fact_index])
    assert z_score((drawn.log_p - alone).exp(), n, 1.0) > 5
    assert float(drawn.log_inclusion.max()) <= 0 and float(drawn.log_share.max()) <= 1e-12


def test_spellings_above_the_last_sequence_weigh_too(many: Space) -> None:
    """One text in 39 spellings, of which a search that gives up knows 24: the weights sum to 1."""
    rng = torch_rng("known")
    drawn = sample_distinct(many.policy, [FACTS[0]] * N_DRAWS, 2, rng, same=lambda _: "")
    weights = (drawn.log_p - drawn.log_inclusion).exp()
    assert drawn.counts.tolist() == [1] * N_DRAWS and z_score(weights, 1, 1.0) < 3


def test_questions_of_other_texts_keep_their_own_weights(many: Space) -> None:
    rng = torch_rng("apart")
    apart = sample_distinct(many.policy, FACTS, 6, rng, same=lambda text: text)
    assert apart.log_share.tolist() == [0.0] * 12
    alone = log_inclusion(apart.log_p, apart.log_threshold[apart.fact_index])
    assert torch.equal(apart.log_inclusion, alone)


def test_merging_gives_up_with_fewer_questions(many: Space) -> None:
    """All texts are one: after MOST_WIDENING times as many sequences there is still one text."""
    drawn = sample_distinct(many.policy, FACTS, 2, torch_rng("one"), same=lambda _: "")
    assert drawn.counts.tolist() == [1, 1]
    assert len(many.questions) > MOST_WIDENING * 3
    assert bool(drawn.log_threshold.isfinite().all() & (drawn.log_threshold < drawn.gumbel).all())
    assert drawn.log_smallest.tolist() == drawn.log_threshold.tolist()
