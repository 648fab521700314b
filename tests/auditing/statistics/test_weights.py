"""Weights of draws without and with replacement, on spaces whose every mean is known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from jaxtyping import Bool, Float

from contraflow.auditing.statistics.weights import (
    Stratum,
    mixture_weights,
    union_log_inclusion,
    union_weights,
)
from support.draws import Draw, draw_distinct, log_softmax, strata_of_union

N_SEEDS = 600
N_ITEMS = 40
Weigh = Callable[[Float[np.ndarray, " m"], Sequence[Stratum]], Float[np.ndarray, " m"]]

_RNG = np.random.default_rng(7)
LOG_P_REF = log_softmax(_RNG.normal(0, 1.5, N_ITEMS))
# Overlaps with the reference in part: it prefers other items.
LOG_P_F = log_softmax(LOG_P_REF + _RNG.normal(0, 2, N_ITEMS))
# A property of the rarer half of P_F: what P_F alone estimates worst.
IS_HIT = np.argsort(np.argsort(LOG_P_F)) < N_ITEMS // 2


def sums(
    log_ps: Sequence[Float[np.ndarray, " s"]],
    counts: Sequence[int],
    weigh: Weigh = union_weights,
    log_p_ref: Float[np.ndarray, " s"] = LOG_P_REF,
    is_hit: Bool[np.ndarray, " s"] = IS_HIT,
) -> Float[np.ndarray, "seeds 2"]:
    """Σ w and Σ w h of each seed; the draws of a seed do not depend on how they are weighed."""
    found = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng([seed, 1])
        draws = [draw_distinct(log_p, n, rng) for log_p, n in zip(log_ps, counts, strict=True)]
        items, strata = strata_of_union(log_ps, draws)
        weights = weigh(log_p_ref[items], strata)
        found.append((weights.sum(), weights @ is_hit[items]))
    return np.array(found)


def is_unbiased(
    found: Float[np.ndarray, "seeds 2"],
    log_p_ref: Float[np.ndarray, " s"] = LOG_P_REF,
    is_hit: Bool[np.ndarray, " s"] = IS_HIT,
) -> bool:
    """Both means are within 3 standard errors of 1 and of the exact mean of h."""
    exact = np.array([1.0, np.exp(log_p_ref) @ is_hit])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return bool((np.abs(found.mean(axis=0) - exact) <= 3 * error + 1e-12).all())


@pytest.mark.parametrize("n", [1, 2, 8, 24])
def test_one_sample_of_the_reference_is_unbiased(n: int) -> None:
    assert is_unbiased(sums([LOG_P_REF], [n]))


@pytest.mark.parametrize("counts", [(6, 6), (3, 12), (12, 3), (1, 1), (24, 24)])
def test_two_overlapping_samples_are_unbiased(counts: tuple[int, int]) -> None:
    assert is_unbiased(sums([LOG_P_REF, LOG_P_F], counts))


def test_three_samples_are_unbiased() -> None:
    flat = np.full(N_ITEMS, -np.log(N_ITEMS))
    assert is_unbiased(sums([LOG_P_REF, LOG_P_F, flat], (4, 4, 4)))


def test_twice_the_same_distribution_is_unbiased() -> None:
    assert is_unbiased(sums([LOG_P_REF, LOG_P_REF], (6, 6)))


def test_a_sampler_without_some_items_is_unbiased() -> None:
    log_p_f = log_softmax(np.where(IS_HIT, -np.inf, LOG_P_F))
    assert is_unbiased(sums([LOG_P_REF, log_p_f], (6, 6)))


def test_probabilities_of_1e_30_are_unbiased() -> None:
    log_p_ref = log_softmax(np.where(np.arange(N_ITEMS) % 2 == 0, LOG_P_REF, -69.0))
    # The sampler draws what the reference hardly ever gives.
    log_p_f = log_softmax(np.where(np.arange(N_ITEMS) % 2 == 1, LOG_P_F, -69.0))
    is_hit = np.arange(N_ITEMS) % 4 < 2
    found = sums([log_p_ref, log_p_f], (8, 8), log_p_ref=log_p_ref, is_hit=is_hit)
    assert is_unbiased(found, log_p_ref, is_hit)


@pytest.mark.parametrize("n", [N_ITEMS, N_ITEMS + 1, 3 * N_ITEMS])
def test_weights_of_an_exhausted_space_are_probabilities(n: int) -> None:
    draw = draw_distinct(LOG_P_REF, n, np.random.default_rng(0))
    assert draw.log_threshold == -np.inf
    for other in (3, n):
        draws = [draw, draw_distinct(LOG_P_F, other, np.random.default_rng(1))]
        _, strata = strata_of_union([LOG_P_REF, LOG_P_F], draws)
        assert union_weights(LOG_P_REF, strata) == pytest.approx(np.exp(LOG_P_REF), rel=1e-12)


def test_an_exhausted_sampler_of_few_items_is_unbiased() -> None:
    few = log_softmax(np.where(np.arange(N_ITEMS) < 4, LOG_P_F, -np.inf))
    found = sums([LOG_P_REF, few], (6, 10))
    assert np.isfinite(found).all()
    assert is_unbiased(found)


def sampler_alone(
    log_p_ref: Float[np.ndarray, " m"], strata: Sequence[Stratum]
) -> Float[np.ndarray, " m"]:
    """P_F alone as the inclusion: forgets that the reference was sampled too."""
    sampler = Stratum(
        strata[1].log_p,
        np.ones_like(strata[1].drawn),
        strata[1].log_threshold,
        strata[1].log_smallest,
    )
    return union_weights(log_p_ref, [sampler])


def at_temperature_two(
    log_p_ref: Float[np.ndarray, " m"], strata: Sequence[Stratum]
) -> Float[np.ndarray, " m"]:
    order = np.argsort(LOG_P_F)
    item = order[np.searchsorted(LOG_P_F[order], strata[1].log_p)]
    tempered = log_softmax(LOG_P_F / 2)[item]
    sampler = Stratum(tempered, strata[1].drawn, strata[1].log_threshold, strata[1].log_smallest)
    return union_weights(log_p_ref, [strata[0], sampler])


def one_threshold(
    log_p_ref: Float[np.ndarray, " m"], strata: Sequence[Stratum]
) -> Float[np.ndarray, " m"]:
    """The (n+1)-th value for undrawn questions too, where the n-th is due."""
    return union_weights(
        log_p_ref,
        [Stratum(s.log_p, s.drawn, s.log_threshold, s.log_threshold) for s in strata],
    )


def swapped_thresholds(
    log_p_ref: Float[np.ndarray, " m"], strata: Sequence[Stratum]
) -> Float[np.ndarray, " m"]:
    return union_weights(
        log_p_ref, [Stratum(s.log_p, s.drawn, s.log_smallest, s.log_threshold) for s in strata]
    )


@pytest.mark.parametrize(
    "weigh", [sampler_alone, at_temperature_two, one_threshold, swapped_thresholds]
)
def test_a_wrong_weight_fails_the_same_check(weigh: Weigh) -> None:
    assert is_unbiased(sums([LOG_P_REF, LOG_P_F], (3, 3)))
    found = sums([LOG_P_REF, LOG_P_F], (3, 3), weigh)
    assert np.isfinite(found).all()
    assert not is_unbiased(found)


def test_inclusion_is_the_share_of_redrawn_own_noise() -> None:
    """Derived: q's own Gumbel value exceeds kappa(-q) in either sample, all others fixed."""
    rng = np.random.default_rng(3)
    draws = [draw_distinct(log_p, 4, rng) for log_p in (LOG_P_REF, LOG_P_F)]
    items, strata = strata_of_union([LOG_P_REF, LOG_P_F], draws)
    redrawn = rng.gumbel(size=(2, 100_000, len(items)))
    is_in = np.zeros(redrawn.shape[1:], dtype=bool)
    for noise, stratum, draw in zip(redrawn, strata, draws, strict=True):
        kappa = np.where(stratum.drawn, draw.log_threshold, draw.log_smallest)
        is_in |= stratum.log_p + noise > kappa
    assert np.exp(union_log_inclusion(strata)) == pytest.approx(is_in.mean(axis=0), abs=0.007)


def test_tiny_inclusion_keeps_its_logarithm() -> None:
    stratum = Stratum(np.array([-2000.0]), np.array([True]), log_threshold=0.0, log_smallest=1.0)
    assert union_log_inclusion([stratum]) == pytest.approx([-2000.0])
    assert union_weights(np.array([-2000.0]), [stratum]) == pytest.approx([1.0])


@pytest.mark.parametrize("x", [-29.999, -30.001])
def test_both_forms_of_inclusion_agree_where_they_meet(x: float) -> None:
    """log(1 - exp(-a)) = log a - a / 2 + O(a²), with a = exp(x)."""
    stratum = Stratum(np.array([x]), np.array([True]), log_threshold=0.0, log_smallest=1.0)
    assert union_log_inclusion([stratum])[0] == pytest.approx(x - np.exp(x) / 2, abs=1e-12)


def test_what_the_reference_cannot_give_has_weight_0() -> None:
    drawn = np.array([True, True])
    for threshold in (-3.0, -np.inf):
        strata = [
            Stratum(np.array([-np.inf, -1.0]), ~drawn | [False, True], threshold, -2.5),
            Stratum(np.array([-1.0, -1.0]), drawn, threshold, -2.5),
        ]
        weights = union_weights(np.array([-np.inf, -1.0]), strata)
        assert weights[0] == 0.0
        assert np.isfinite(weights).all()


def test_samples_that_do_not_hold_a_question_are_refused() -> None:
    stratum = Stratum(np.array([-1.0]), np.array([False]), -3.0, -2.0)
    with pytest.raises(ValueError, match="drawn by no sample"):
        union_weights(np.array([-1.0]), [stratum])
    with pytest.raises(ValueError, match="at least one"):
        union_weights(np.array([-1.0]), [])


def mixture_sums(n_ref: int, n_other: int, log_p_f: Float[np.ndarray, " s"]) -> np.ndarray:
    found = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng([seed, 2])
        items = np.concatenate(
            [
                rng.choice(N_ITEMS, size=n, p=np.exp(log_p) / np.exp(log_p).sum())
                for log_p, n in ((LOG_P_REF, n_ref), (log_p_f, n_other))
            ]
        )
        weights = mixture_weights(LOG_P_REF[items], log_p_f[items], n_ref)
        assert (weights <= len(items) / n_ref + 1e-9).all()
        found.append((weights.mean(), (weights * IS_HIT[items]).mean()))
    return np.array(found)


@pytest.mark.parametrize("counts", [(8, 8), (2, 14), (16, 0)])
def test_mixture_with_replacement_is_unbiased(counts: tuple[int, int]) -> None:
    assert is_unbiased(mixture_sums(*counts, LOG_P_F))


def test_mixture_with_tiny_probabilities_is_unbiased() -> None:
    assert is_unbiased(mixture_sums(8, 8, log_softmax(np.where(IS_HIT, -800.0, LOG_P_F))))
    assert is_unbiased(mixture_sums(8, 8, log_softmax(np.where(IS_HIT, -np.inf, LOG_P_F))))


def test_mixture_weights_of_the_reference_alone_are_one() -> None:
    assert mixture_weights(LOG_P_REF, np.full(N_ITEMS, -np.inf), N_ITEMS) == pytest.approx(1.0)
    extreme = mixture_weights(np.array([-np.inf, -1000.0]), np.array([-1.0, -1.0]), 1)
    assert extreme == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("n_ref", [0, -1, 3])
def test_mixture_needs_draws_of_the_reference(n_ref: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mixture_weights(np.zeros(2), np.zeros(2), n_ref)


def test_draws_of_the_test_space_are_the_exact_ones() -> None:
    """The first draw is distributed as P: what the other tests rest on."""
    rng = np.random.default_rng(0)
    draws: list[Draw] = [draw_distinct(LOG_P_REF, 1, rng) for _ in range(20_000)]
    share = np.mean([draw.drawn for draw in draws], axis=0)
    assert share == pytest.approx(np.exp(LOG_P_REF), abs=0.012)
