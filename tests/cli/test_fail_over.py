"""`contraflow audit fail_over=`: when an audit fails a build."""

from __future__ import annotations

import msgspec
import pytest

from contraflow.auditing.outcome.result import AuditResult, Estimate
from contraflow.cli.commands.audit import _compared
from support.audits import made_result


def with_failure(*estimates: Estimate) -> AuditResult:
    """A result whose models have these edit-failure rates."""
    made = made_result(n_models=len(estimates))
    models = tuple(
        msgspec.structs.replace(model, edit_failure=estimate)
        for model, estimate in zip(made.models, estimates, strict=True)
    )
    return msgspec.structs.replace(made, models=models)


def rate(low: float) -> Estimate:
    return Estimate(value=0.5, low=low, high=0.9, n=10, ess=5.0)


def test_the_lower_bound_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert _compared(with_failure(rate(0.2)), 0.2) == 0
    assert capsys.readouterr().out == ""
    assert _compared(with_failure(rate(0.1), rate(0.21)), 0.2) == 1
    assert capsys.readouterr().out == "lora: edit failure is at least 0.210, over fail_over=0.2\n"


def test_a_build_does_not_pass_for_want_of_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    none = Estimate.missing("no estimate: no edit has one")
    said = "rome: no estimate of edit failure to compare with fail_over\n"
    assert _compared(with_failure(none), 0.2) == 3
    assert capsys.readouterr().out == said
    assert _compared(with_failure(none, rate(0.1)), 0.2) == 3
    assert capsys.readouterr().out == said


def test_a_model_above_the_limit_fails_whatever_is_unknown_of_others() -> None:
    none = Estimate.missing("no estimate: no edit has one")
    assert _compared(with_failure(none, rate(0.3)), 0.2) == 1
    assert _compared(with_failure(rate(0.3), none), 0.2) == 1
