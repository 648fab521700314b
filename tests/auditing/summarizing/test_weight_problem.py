"""When weights are trusted: rare false alarms, and what lacks the prior is caught."""

import numpy as np
import pytest

from contraflow.auditing.statistics.estimates import weight_problem
from support.draws import draw_union, log_softmax
from support.spaces import N_ITEMS


def weight_totals(counts: tuple[int, int], n_edits: int, seed: int, flat: bool) -> list[float]:
    rng = np.random.default_rng([seed, *counts, n_edits])
    totals = []
    for _ in range(n_edits):
        log_p_ref = log_softmax(rng.normal(0, 0.5 if flat else 1.5, N_ITEMS))
        log_p_f = log_softmax(log_p_ref + rng.normal(0, 2, N_ITEMS))
        parts = [(log_p, n) for log_p, n in zip((log_p_ref, log_p_f), counts, strict=True) if n]
        union = draw_union(log_p_ref, [p for p, _ in parts], [n for _, n in parts], rng)
        totals.append(float(union.weights.sum()))
    return totals


@pytest.mark.parametrize("n_edits", [3, 12, 24])
@pytest.mark.parametrize("n", [8, 16, 32])
def test_sound_draws_rarely_raise_an_alarm(n: int, n_edits: int) -> None:
    alarms = [
        bool(weight_problem(weight_totals((n // 2, n // 2), n_edits, seed, flat=bool(seed % 2))))
        for seed in range(200)
    ]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize("n_edits", [3, 12, 24])
@pytest.mark.parametrize("n", [8, 16, 32])
def test_draws_that_lack_part_of_the_prior_are_caught(n: int, n_edits: int) -> None:
    """No draws of the prior, and a sampler that has dropped about 70 % of its mass."""
    caught = []
    for seed in range(60):
        rng = np.random.default_rng([seed, n, n_edits])
        totals = []
        for _ in range(n_edits):
            log_p_ref = log_softmax(rng.normal(0, 1.0, 400))
            kept = rng.random(400) < 0.3
            log_p_f = log_softmax(np.where(kept, log_p_ref, log_p_ref - 60))
            totals.append(float(draw_union(log_p_ref, [log_p_f], [n], rng).weights.sum()))
        caught.append(bool(weight_problem(totals)))
    assert np.mean(caught) >= 0.95


def test_uneven_sums_are_caught_though_their_mean_is_one() -> None:
    totals = [0.1] * 11 + [10.9]
    assert np.mean(totals) == pytest.approx(1.0)
    assert "uneven" in weight_problem(totals)


def test_weights_of_one_edit_are_judged_by_their_sum() -> None:
    assert weight_problem([1.4]) == ""
    assert "0.30" in weight_problem([0.3])
    assert weight_problem([]) == "no estimate: nothing was drawn"
    assert weight_problem([1.0] * 5) == ""
    assert "1.30" in weight_problem([1.3] * 5)
