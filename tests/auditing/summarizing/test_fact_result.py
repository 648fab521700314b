"""Numbers of one edit: self-contradiction without bias, and what only one of two models fails."""

import math

import msgspec
import numpy as np
import pytest

from contraflow.auditing.asking.questions import given_questions
from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.statistics.estimates import wilson
from contraflow.auditing.summarizing.fact_result import alone, edit_failure, self_contradiction
from support.audit_rows import made_rows
from support.draws import draw_union, log_softmax

TEMPLATE = made_rows("m", 0, 0.5, np.random.default_rng(0))[0]


def row(post: str, weight: float = 1.0, log_p: float | None = None, pre: str = "OLD") -> Row:
    return msgspec.structs.replace(
        TEMPLATE, post=post, pre=pre, weight=weight, log_p_prior=log_p, sound=True
    )


def test_equal_draws_contradict_as_often_as_their_pairs() -> None:
    """Of 6 draws 3 are NEW and 2 OLD: 3 · 2 of the 15 pairs."""
    draws = [row(post) for post in ("NEW", "NEW", "NEW", "OLD", "OLD", "OTHER")]
    assert self_contradiction(draws) == pytest.approx(6 / 15)


def test_two_draws_that_contradict_each_other_do_so_always() -> None:
    assert self_contradiction([row("NEW", 0.3), row("OLD", 0.1)]) == pytest.approx(1.0)
    assert self_contradiction([row("NEW")]) is None


def test_questions_that_are_all_known_give_the_exact_value() -> None:
    """2 · 0.5 · 0.3: two independent questions may be the same one."""
    p = {"NEW": 0.5, "OLD": 0.3, "OTHER": 0.2}
    draws = [row(post, share, math.log(share)) for post, share in p.items()]
    assert self_contradiction(draws) == pytest.approx(0.3)


@pytest.mark.parametrize("counts", [(6, 6), (3, 10)])
def test_contradiction_is_estimated_without_bias(counts: tuple[int, int]) -> None:
    """Draws without replacement of both samplers; the product of two shares would be too small."""
    rng = np.random.default_rng(sum(counts))
    log_p = log_softmax(rng.normal(0, 1, 60))
    log_f = log_softmax(log_p + rng.normal(0, 1, 60))
    posts = rng.choice(["NEW", "OLD", "OTHER"], 60, p=[0.5, 0.4, 0.1])
    p = np.exp(log_p)
    exact = 2 * p[posts == "NEW"].sum() * p[posts == "OLD"].sum()
    ours, products = [], []
    for _ in range(1500):
        union = draw_union(log_p, [log_p, log_f], counts, rng)
        drawn = list(zip(union.items, union.weights, strict=True))
        ours.append(self_contradiction([row(str(posts[i]), w, log_p[i]) for i, w in drawn]))
        share = union.weights / union.weights.sum()
        found = posts[union.items]
        products.append(2 * share[found == "NEW"].sum() * share[found == "OLD"].sum())
    error = np.std(ours) / math.sqrt(len(ours))
    assert abs(np.mean(ours) - exact) < 4 * error + 0.01
    assert np.mean(products) < exact - 0.02


def test_only_what_one_model_fails_is_a_difference() -> None:
    """Four known questions of weights 1, 2, 3 and 4: the first model alone fails the second."""
    posts = ("OLD", "OLD", "NEW", "NEW"), ("OLD", "NEW", "OLD", "NEW")
    first, second = ([row(post, w + 1.0) for w, post in enumerate(of)] for of in posts)
    plain, total = 2.0, 10.0
    ratio = (plain / total + 4 / 100) / (1 + 30 / 100)  # Beale's: Σ u² of the hit, and of all
    assert alone(first, second, lambda r: r.fails).value == pytest.approx(ratio)
    assert alone(first, first, lambda r: r.fails).value == 0.0
    unknown = [row("OLD", pre="OTHER")]
    assert alone(unknown, unknown, lambda r: r.fails).value is None


def test_an_own_question_counts_as_often_as_it_is_given() -> None:
    """Of ten lines of a log nine are one question: 9 of 10 fail, by ten trials."""
    lines = given_questions(["often?"] * 9 + ["once?"])
    own = [
        msgspec.structs.replace(
            row(post, line.weight or 0.0), question=line.text, sources=line.sources
        )
        for line, post in zip(lines, ("OLD", "NEW"), strict=True)
    ]
    found = edit_failure(own)
    assert found.value == pytest.approx(0.9) and found.n == 10
    assert (found.low, found.high) == pytest.approx(wilson(0.9, 10), abs=0.05)
    assert found.ess == pytest.approx(10)
