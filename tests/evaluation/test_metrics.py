"""Metrics of constructed records, whose values can be worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from contraflow.errors import UserError
from contraflow.evaluation.bootstrap import (
    Statistic,
    draw_weights,
    interval,
    pearson_of_sums,
    ratio,
)
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.evaluation.metrics import Metrics, compute_metrics, read_metrics, write_metrics
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from support.records import record


def metrics_of(records: list[QuestionRecord], **options: object) -> Metrics:
    return compute_metrics(records, np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_every_defined_metric_is_computed_once_and_in_order() -> None:
    metrics = metrics_of([record()])
    assert [row.name for row in metrics.rows] == [definition.name for definition in DEFINITIONS]
    assert all(row.meaning and row.unit for row in metrics.rows)


def test_rates_are_over_questions_and_count_each_part() -> None:
    records = [
        record(),
        record(question="Who wrote Macbeth?"),  # off the subject; the answer still names the truth
        record(question="Did Shakespeare write Hamlet?", answer="Yes."),  # leaks
        record(answer="Christopher Marlowe", log_contradiction=-4.0),
    ]
    metrics = metrics_of(records)
    assert metrics["well_formed"].value == 1
    assert metrics["on_subject"].value == 3 / 4
    assert metrics["no_leak"].value == 3 / 4
    assert metrics["contradiction"].value == 3 / 4
    assert metrics["valid_contradiction"].value == 1 / 4
    assert metrics["strict_success"].value == 1 / 4
    assert metrics["strict_success"].n == 4
    assert (metrics.n_facts, metrics.n_questions) == (1, 4)


def test_intervals_stay_within_what_a_log_probability_can_be() -> None:
    """Two facts of five widen an interval beyond 0: -2.2 [-4.7, 0.1] was printed."""
    values = (-0.01, -0.01, -6.0)
    names = ("log_contradiction", "log_entailment", "log_p_question", "log_p_answer")
    metrics = metrics_of(
        [record(f"f{i}", **dict.fromkeys(names, value)) for i, value in enumerate(values)]
    )
    for name in names:
        assert metrics[name].low < metrics[name].value < metrics[name].high == 0


def test_a_contradiction_needs_more_than_one_half() -> None:
    assert metrics_of([record(log_contradiction=math.log(0.5))])["contradiction"].value == 0
    assert metrics_of([record(log_contradiction=math.log(0.51))])["contradiction"].value == 1


def test_questions_without_a_known_answer_are_no_failures() -> None:
    metrics = metrics_of([record(), record(original_answer="")])
    assert (metrics["strict_success"].value, metrics["strict_success"].n) == (1, 1)


def test_means_leave_out_what_is_not_finite() -> None:
    metrics = metrics_of(
        [record(log_reward=-2.0), record(log_reward=-4.0), record(log_reward=math.nan)]
    )
    assert (metrics["log_reward"].value, metrics["log_reward"].n) == (-3, 2)


def test_slope_and_correlation_forget_what_differs_between_facts() -> None:
    """log P_F = 0.5 log R + c(f): slope 0.5 and correlation 1 for any c(f)."""
    records = [
        record(f"f{fact}", log_reward=reward, log_pf=0.5 * reward + 100 * fact)
        for fact in range(3)
        for reward in (-1.0 - fact, -2.0, -5.0)
    ]
    metrics = metrics_of(records)
    assert metrics["slope"].value == pytest.approx(0.5)
    assert metrics["pearson"].value == pytest.approx(1)
    assert metrics["spearman"].value == pytest.approx(1)
    assert metrics["slope"].low == pytest.approx(0.5) == metrics["slope"].high


def test_var_log_ratio_is_the_unbiased_variance_per_fact() -> None:
    """Fact a: log R - log P_F = 1, 3 (variance 2). Fact b: constant (0).

    Fact c: one question (undefined).
    """
    records = [
        record("a", log_reward=1.0, log_pf=0.0),
        record("a", log_reward=3.0, log_pf=0.0),
        record("b", log_reward=7.0, log_pf=2.0),
        record("b", log_reward=6.0, log_pf=1.0),
        record("c", log_reward=0.0, log_pf=9.0),
    ]
    row = metrics_of(records)["var_log_ratio"]
    assert (row.value, row.n) == (pytest.approx(1), 2)


def test_diversity_is_of_valid_questions_within_a_fact() -> None:
    records = [
        record("a", "Who wrote Hamlet?"),
        record("a", "Who wrote Hamlet?"),
        record("a", "Hamlet was written by whom?"),
        record("a", "Who who who Hamlet?"),  # not valid: must not count as new words
        record("b", "gibberish Hamlet"),
    ]
    metrics = metrics_of(records)
    assert metrics["distinct_questions"].value == pytest.approx((3 / 4 + 1) / 2)
    assert metrics["distinct_valid"].value == pytest.approx((2 / 4 + 0) / 2)
    # The 7 words: who wrote hamlet was written by whom.
    assert metrics["distinct_1"].value == pytest.approx(7 / 11)
    assert metrics["distinct_1"].n == 1
    assert metrics["self_bleu"].n == 1


def test_the_encoder_sees_each_valid_question_once() -> None:
    calls: list[list[str]] = []

    def embed(texts: list[str]) -> torch.Tensor:
        calls.append(texts)
        return torch.eye(len(texts))

    records = [record("a"), record("a"), record("b"), record("b", "Hamlet was written by whom?")]
    metrics = metrics_of(records, embed=embed)
    assert calls == [["Who wrote Hamlet?", "Hamlet was written by whom?"]]
    assert metrics["vendi"].value == pytest.approx((1 + 2) / 2)
    assert metrics["embedding_distance"].value == pytest.approx((0 + 1) / 2)


def test_without_an_encoder_its_metrics_are_unknown() -> None:
    metrics = metrics_of([record("a"), record("b")])
    for name in ("vendi", "embedding_distance"):
        assert math.isnan(metrics[name].value)
        assert metrics[name].note == "left out: there is no sentence encoder"


def test_one_fact_has_no_interval(tmp_path: Path) -> None:
    """Every resample of one fact is that fact: a point would look like certainty."""
    records = [record("a"), record("a"), record("a"), record("a", answer="Christopher Marlowe")]
    row = metrics_of(records)["strict_success"]
    assert row.value == 0.75
    assert math.isnan(row.low) and math.isnan(row.high)
    assert row.note == "no interval: it needs two facts"
    write_metrics(tmp_path / "one.json", metrics_of(records))
    assert read_metrics(tmp_path / "one.json")["strict_success"].note == row.note
    two = metrics_of([*records, record("b")])["strict_success"]
    # Percentiles 0.75 and 1 around 0.8, sqrt(2) · t(1) / z(0.975) = 9.17 times as far away.
    assert (two.value, two.high, two.note) == (0.8, 1, "")
    assert two.low == pytest.approx(0.8 - math.sqrt(2) * 12.7062 / 1.95996 * 0.05, abs=1e-4)


def test_an_old_file_about_one_fact_shows_no_interval(tmp_path: Path) -> None:
    """Earlier versions wrote the value itself as both ends."""
    old = {"value": 0.75, "low": 0.75, "high": 0.75, "n": 4, "unit": "share", "meaning": "m"}
    path = tmp_path / "old.json"
    for n_facts, low in ((1, math.nan), (2, 0.75)):
        content = {"n_facts": n_facts, "n_questions": 4, "metrics": {"strict_success": old}}
        path.write_text(json.dumps(content))
        row = read_metrics(path)["strict_success"]
        assert row.value == 0.75
        assert (row.low, row.high) == pytest.approx((low, low), nan_ok=True)


def test_a_metric_that_one_of_two_facts_has_is_a_point() -> None:
    """Self-BLEU needs two valid questions: fact b has one."""
    row = metrics_of([record("a"), record("a"), record("b")])["self_bleu"]
    assert (row.value, row.n) == (pytest.approx(1), 1)
    assert math.isnan(row.low)
    assert row.note == "no interval: it needs two facts"


def test_no_records_is_an_error() -> None:
    with pytest.raises(UserError, match="no questions"):
        metrics_of([])


def test_the_interval_of_a_constant_is_the_constant() -> None:
    constant = Statistic(np.full((10, 2), 1.0) * [3.0, 1.0], ratio, 10)
    assert interval(constant, draw_weights(10, 50, np.random.default_rng(0))) == (3, 3)


@pytest.mark.parametrize(("value", "n"), [(0.0, 2), (0.0, 12), (1.0, 12), (0.25, 12)])
def test_the_interval_of_facts_that_are_all_alike_is_no_point(value: float, n: int) -> None:
    """None of twelve failed, and 5 % of facts like them may: the bound is 1 - 0.05^(1/12)."""
    alike = Statistic(np.tile([[8 * value, 8.0]], (n, 1)), ratio, 8 * n)
    low, high = interval(alike, draw_weights(n, 50, np.random.default_rng(0)), (0.0, 1.0))
    other = 1 - 0.05 ** (1 / n)
    assert (low, high) == pytest.approx((value - other * value, value + other * (1 - value)))


def test_a_rare_event_is_covered_where_none_was_seen() -> None:
    """A rate of 0.01, 12 facts of 8 questions: in 38 of 100 samples there is none."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        sums = np.stack([rng.binomial(8, 0.01, 12).astype(float), np.full(12, 8.0)], axis=1)
        low, high = interval(Statistic(sums, ratio, 96), draw_weights(12, 400, rng), (0.0, 1.0))
        covered.append(low <= 0.01 <= high)
    assert np.mean(covered) > 0.92


def test_the_interval_of_a_mean_is_two_standard_errors_wide() -> None:
    values = np.random.default_rng(1).normal(size=400)
    statistic = Statistic(np.stack([values, np.ones(400)], 1), ratio, 400)
    low, high = interval(statistic, draw_weights(400, 4000, np.random.default_rng(2)))
    assert (high - low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert low < statistic.value < high


@pytest.mark.parametrize("n", [3, 4, 8])
def test_the_interval_of_few_facts_covers_as_often_as_it_says(n: int) -> None:
    """Means of n uniform numbers: plain percentiles hold 0.5 in 84, 83 and 91 % of the cases."""
    rng = np.random.default_rng(0)
    n_covered = 0
    for _ in range(400):
        sums = np.stack([rng.random(n), np.ones(n)], 1)
        low, high = interval(Statistic(sums, ratio, n), draw_weights(n, 400, rng), (0.0, 1.0))
        assert 0 <= low <= high <= 1
        n_covered += low <= 0.5 <= high
    assert n_covered / 400 >= 0.91


def test_facts_are_resampled_not_questions() -> None:
    """Ten copies of a question in each of two facts are two observations.

    With twenty the interval would be about 0.3 … 0.7.
    """
    records = [record(f"f{i}", log_contradiction=-9.0 * i) for i in (0, 1) for _ in range(10)]
    row = metrics_of(records)["contradiction"]
    assert (row.value, row.low, row.high) == (0.5, 0, 1)


def test_the_same_seed_gives_the_same_intervals() -> None:
    records = [record(f"f{i}", log_reward=float(i * i % 7)) for i in range(9)]
    assert metrics_of(records)["log_reward"] == metrics_of(records)["log_reward"]


def test_correlation_of_sums_is_numpys() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 50))
    moments = np.stack([np.ones(50), x, y, x * x, y * y, x * y], 1).sum(0)
    assert pearson_of_sums(moments) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert math.isnan(pearson_of_sums(np.array([3.0, 0, 0, 0, 0, 0])))


def test_metrics_survive_a_file_with_nan_as_null(tmp_path: Path) -> None:
    written = metrics_of([record("a"), record("b")])
    path = tmp_path / "metrics.json"
    write_metrics(path, written)
    assert b"NaN" not in path.read_bytes()
    found = read_metrics(path)
    assert found["strict_success"] == written["strict_success"]
    assert math.isnan(found["vendi"].value)
    assert [row.name for row in found.rows] == [row.name for row in written.rows]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"n_facts": 1}', b"\xff", b"[" * 5000])
def test_a_file_of_something_else_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.json"):
        read_metrics(path)


def test_records_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "questions.jsonl"
    records = [record("a", aliases=("Bard",)), record("b", log_reward=math.nan)]
    assert write_records(path, records) == 2
    first, second = read_records(path)
    assert first == records[0]
    assert math.isnan(second.log_reward)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("line", [b"{}", b"not json", b"[1]", b'{"fact_id": 3}', b"\xff\xfe"])
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "questions.jsonl"
    write_records(path, [record()])
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=r"questions\.jsonl:3: "):
        read_records(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_records(tmp_path / "none.jsonl")


def with_ratio(fact: str, value: float, **changes: object) -> QuestionRecord:
    """A question whose log R - log P_F is given."""
    return record(fact, log_reward=value, log_pf=0.0, **changes)


def test_the_median_variance_is_that_of_the_facts() -> None:
    """Variances (n - 1) of three facts: 2, 8 and 200; one question alone has none."""
    records = [with_ratio(f, v) for f, d in (("a", 1), ("b", 2), ("c", 10)) for v in (d, -d)]
    metrics = metrics_of([*records, with_ratio("d", 5)])
    assert metrics["var_log_ratio_median"].value == 8
    assert metrics["var_log_ratio"].value == 70
    row = metrics["var_log_ratio_median"]
    assert (row.n, row.low, row.high) == (3, 2, 200)


def test_the_median_of_two_facts_is_between_them() -> None:
    records = [with_ratio(f, v) for f, d in (("a", 1), ("b", 2)) for v in (d, -d)]
    assert metrics_of(records)["var_log_ratio_median"].value == 5


def test_variance_due_to_answers_is_the_part_between_them() -> None:
    """Fact a: right answers at 1 and 3, a wrong one at -4, an unsound question at 8.

    Sound: mean 0 of (1, 3, -4). Between: 2 (2 - 0)² + 1 (-4 - 0)² = 24, over n - 1 = 3. Fact b has
    right answers only: 0. So the mean is 4, and one of two facts is mixed.
    """
    wrong = {"answer": "Christopher Marlowe"}
    records = [
        with_ratio("a", 1),
        with_ratio("a", 3),
        with_ratio("a", -4, **wrong),
        with_ratio("a", 8, question="Did Shakespeare write Hamlet?"),
        with_ratio("b", 7),
        with_ratio("b", -7),
    ]
    metrics = metrics_of(records)
    assert metrics["var_due_to_answers"].value == pytest.approx(4)
    assert metrics["mixed_facts"].value == 0.5
    assert metrics["var_due_to_answers"].value <= metrics["var_log_ratio"].value


def test_without_an_answer_a_contradiction_is_right() -> None:
    no = {"original_answer": "", "log_contradiction": -5.0}
    records = [with_ratio("a", 2, original_answer=""), with_ratio("a", -2, **no)]
    metrics = metrics_of(records)
    assert metrics["var_due_to_answers"].value == metrics["var_log_ratio"].value == 8
