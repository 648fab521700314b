"""Where a sampler seeks failures and the control knows little, the mean over edits is too high."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from contraflow.auditing.outcome.rows import PRIOR, SAMPLER, Row
from contraflow.auditing.statistics.estimates import rate
from contraflow.auditing.statistics.over_edits import mean_over_edits
from contraflow.auditing.statistics.weights import union_weights
from contraflow.auditing.summarizing.weight_check import seeking
from support.audit_rows import made_rows
from support.draws import draw_distinct, log_softmax, strata_of_union

TEMPLATE = made_rows("m", 0, 0.5, np.random.default_rng(0))[0]
FAILING = 0.3
N_EDITS = 24


def audited(
    known_share: float, to_known: float, to_failing: float, n: int, rng: np.random.Generator
) -> tuple[dict[str, list[Row]], float]:
    """Rows of 24 edits of 1,500 questions each, and the error of the mean over edits.

    to_known, to_failing: by so many nats P_F prefers known questions, and failing ones of them.
    """
    rows: dict[str, list[Row]] = {}
    rates, exact = [], []
    for edit in range(N_EDITS):
        log_p = log_softmax(-rng.exponential(2, 1500))
        known, fails = rng.random(1500) < known_share, rng.random(1500) < FAILING
        log_f = log_softmax(log_p + known * to_known + (known & fails) * to_failing)
        log_ps = [log_p, log_f]
        draws = [draw_distinct(of, n // 2, rng) for of in log_ps]
        items, strata = strata_of_union(log_ps, draws)
        weights = union_weights(log_p[items], strata)
        rates.append(rate(weights, known[items], fails[items], log_p[items]))
        exact.append(float(np.exp(log_p[known & fails]).sum() / np.exp(log_p[known]).sum()))
        rows[str(edit)] = [
            msgspec.structs.replace(
                TEMPLATE,
                sound=True,
                weight=float(weight),
                log_p_prior=float(log_p[i]),
                pre="OLD" if known[i] else "OTHER",
                post="OTHER" if fails[i] else "NEW",
                sources=tuple(
                    source
                    for source, draw in zip((PRIOR, SAMPLER), draws, strict=True)
                    if draw.drawn[i]
                ),
            )
            for i, weight in zip(items, weights, strict=True)
        ]
    mean = mean_over_edits(rates).value
    assert mean is not None
    return rows, mean - float(np.mean(exact))


@pytest.mark.parametrize(("known_share", "to_failing"), [(0.1, 3.0), (0.05, 5.0)])
def test_a_mean_that_is_too_high_is_named_with_the_ratio_of_all_edits(
    known_share: float, to_failing: float
) -> None:
    rng = np.random.default_rng(5)
    errors, together = [], []
    for _ in range(6):
        rows, error = audited(known_share, 0.0, to_failing, 32, rng)
        errors.append(error)
        said = seeking(rows)
        found = re.search(r"an edit failure of (\d+)%", said)
        assert found is not None, said
        together.append(int(found[1]) / 100)
    assert np.mean(errors) > 0.04
    assert abs(np.mean(together) - FAILING) < 0.75 * np.mean(errors)


@pytest.mark.parametrize(
    ("to_known", "to_failing", "n"), [(2.0, 0.0, 32), (0.0, 0.0, 32), (0.0, 3.0, 256)]
)
def test_a_sampler_of_known_questions_and_large_samples_are_not_warned_of(
    to_known: float, to_failing: float, n: int
) -> None:
    rows, error = audited(0.1, to_known, to_failing, n, np.random.default_rng(6))
    assert seeking(rows) == ""
    assert abs(error) < 0.12  # by chance


def test_an_audit_of_one_kind_of_draws_compares_nothing() -> None:
    assert seeking({}) == ""
    assert seeking({"1": [msgspec.structs.replace(TEMPLATE, sources=(SAMPLER,))]}) == ""
