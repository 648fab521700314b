"""The report in a terminal: what it says, and how long it is."""

import msgspec
import pytest

from contraflow.auditing.outcome.result import AuditResult, Continuations, Estimate, Gate
from contraflow.auditing.report.headline import headline
from contraflow.auditing.report.meanings import reservations
from contraflow.auditing.report.shown import full_text
from contraflow.auditing.report.terminal import WIDTH, text_report
from contraflow.auditing.report.worst_first import worst_first
from support.audits import made_result


def lines_of(result: AuditResult) -> list[str]:
    return text_report(result).splitlines()


@pytest.mark.parametrize("n_edits", [1, 3, 300])
def test_one_model_takes_at_most_43_lines(n_edits: int) -> None:
    result = made_result(n_edits=n_edits)
    many = tuple(Gate(name=f"gate {i}", passed=False, detail="x " * 150) for i in range(9))
    model = msgspec.structs.replace(result.models[0], gates=many, warnings=("y " * 200,) * 9)
    result = msgspec.structs.replace(result, models=(model,), notes=("z",) * 9)
    lines = lines_of(result)
    assert len(lines) <= 43  # three warnings of two lines among them
    assert max(map(len, lines)) <= WIDTH
    n_more = 18 + len(reservations(model.weights)) - 3
    assert f"! {n_more} more warnings in the report" in lines


def test_it_opens_with_the_headline_and_the_rates() -> None:
    model = made_result(n_edits=12).models[0]
    lines = lines_of(made_result(n_edits=12))
    assert " ".join(" ".join(lines[: lines.index("")]).split()) == headline(model)
    assert f"  edit failure          {full_text(model.edit_failure)}" in lines
    assert f"  residual belief       {full_text(model.residual_belief)}" in lines
    assert f"  asked-prompt success  {full_text(model.asked_forced)}" in lines
    assert f"  audit gap             {full_text(model.audit_gap, 'points')}" in lines
    assert f"  discovery             {full_text(model.discovery, 'per_100')}" in lines
    assert "  locality kept         72 % [57, 84]" in lines


def test_the_worst_facts_come_with_a_question_and_its_answer() -> None:
    model = made_result(n_edits=12).models[0]
    worst = worst_first(model.facts)[0]
    rates = [f.edit_failure.value or 0.0 for f in model.facts if f.counted]
    assert worst.edit_failure.value == max(rates)
    lines = lines_of(made_result(n_edits=12))
    at = lines.index(
        f"  {full_text(worst.edit_failure)} {worst.subject}: "
        f"{worst.original_answer} → {worst.edited_answer} ({len(worst.modes)} modes)"
    )
    assert lines[at + 1].startswith(f"      {worst.modes[0].question} → ")
    assert lines[at + 1].endswith(f" ({worst.modes[0].post.lower()})")


def test_each_source_has_its_yield() -> None:
    model = made_result(n_edits=12).models[0]
    text = text_report(made_result(n_edits=12))
    for source in model.sources:
        line = next(x for x in text.splitlines() if x.startswith(f"  {source.source} "))
        counts = [str(source.n_asked), str(source.n_failing), str(source.n_modes)]
        assert line.split()[1:4] == counts


def test_texts_to_be_continued_have_a_line_of_their_own() -> None:
    result = made_result(n_edits=12)
    found = Continuations(
        source="paraphrase", n_given=24, n_continuations=20, n_known=8, n_failing=3
    )
    for sources in (result.models[0].sources, ()):
        model = msgspec.structs.replace(
            result.models[0], sources=sources, comparisons=(), continuations=(found,)
        )
        assert (
            "  paraphrase: 20 of 24 to be continued, no questions (in no rate): 8 known, 3 failing"
        ) in lines_of(msgspec.structs.replace(result, models=(model,)))


def test_only_failed_gates_are_warnings() -> None:
    lines = lines_of(made_result(n_edits=12))
    assert [line for line in lines if line.startswith("!")] == [
        "! control knows the facts: 11 of 12 original facts; the others are listed, not counted"
    ]


def test_no_failure_is_said_in_words() -> None:
    result = made_result(n_edits=3)
    facts = tuple(
        msgspec.structs.replace(fact, n_failing=0, modes=()) for fact in result.models[0].facts
    )
    model = msgspec.structs.replace(result.models[0], facts=facts)
    result = msgspec.structs.replace(result, models=(model,))
    assert "no failing question about 3 counted facts" in lines_of(result)


def test_missing_numbers_are_no_estimate_with_their_reason() -> None:
    result = made_result()
    missing = Estimate.missing("no estimate: nothing was drawn")
    model = msgspec.structs.replace(result.models[0], edit_failure=missing, audit_gap=missing)
    text = text_report(msgspec.structs.replace(result, models=(model,)))
    assert "  edit failure          no estimate (nothing was drawn)" in text.splitlines()
    assert "  audit gap             no estimate (nothing was drawn)" in text.splitlines()
    assert "None" not in text and "nan" not in text


def test_several_models_have_their_paired_differences() -> None:
    result = made_result(n_models=3)
    text = text_report(result)
    found = result.differences[0]
    assert (
        f"  rome − lora: failure {full_text(found.edit_failure, 'points')}, "
        f"residual {full_text(found.residual_belief, 'points')}"
    ) in text.splitlines()
    assert text.count("facts that fail most") == 3


def test_an_answer_cannot_steer_the_terminal() -> None:
    result = made_result()
    fact = result.models[0].facts[0]
    mode = msgspec.structs.replace(fact.modes[0], post_answer="\x1b[2J\u202eanswer\n")
    fact = msgspec.structs.replace(fact, subject="\x1b[31mred", modes=(mode,))
    model = msgspec.structs.replace(result.models[0], facts=(fact,))
    lines = lines_of(msgspec.structs.replace(result, models=(model,)))
    assert all(line.isprintable() for line in lines)
    assert any("[31mred" in line for line in lines)
