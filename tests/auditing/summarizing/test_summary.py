"""From rows to the numbers of an edited model, and differences of two of them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from contraflow.auditing.asking.evidence import AskedPrompt, Evidence
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.result import VERDICTS, Estimate, ModelInfo
from contraflow.auditing.outcome.rows import OWN, PARAPHRASE, Row
from contraflow.auditing.statistics.estimates import proportion
from contraflow.auditing.summarizing.summary import NO_PROMPT, NOT_READ, differences, summarize
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from support.audit_rows import made_fact, made_rows

STYLE = "few_shot"


def edit_of(number: int) -> Edit:
    subject, old, new, stem = made_fact(number)
    fact = Fact(
        fact_id=f"fact-{number}",
        subject=subject,
        edit_fact=f"{stem} {new}.",
        original_fact=f"{stem} {old}.",
        original_answer=old,
        edited_answer=new,
    )
    return Edit(fact=fact, prompt=stem)


def evidence_of(name: str, fails: float, n_edits: int) -> Evidence:
    """An edited model: its questions fail with this probability; each model passes its prompts.

    The weights of an edit add up to 1. Equal seeds: two models of one probability are equal.
    """
    rows: list[Row] = []
    for number in range(n_edits):
        made = made_rows(name, number, fails, np.random.default_rng([number, 7]))
        total = sum(row.weight for row in made)
        key = edit_of(number).fact.key
        rows += [
            msgspec.structs.replace(row, fact_key=key, weight=row.weight / total, log_p_prior=-30.0)
            for row in made
        ]
    edits = [edit_of(number) for number in range(n_edits)]
    return Evidence(
        model=ModelInfo(name=name, source=name, identity=name),
        standings=[Standing(e, e.fact.original_answer, "file", "") for e in edits],
        prompts=[AskedPrompt("NEW", "", 1.0) for _ in edits],
        rows=rows,
        probes=(),
        gates=(),
        degenerate=(0, 10),
        largest_unseen={edit.fact.key: 0.1 for edit in edits},
    )


def bounds(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


@pytest.mark.parametrize("n_edits", [1, 3, 6])
@pytest.mark.parametrize("fails", [0.0, 0.5, 1.0])
def test_every_rate_and_the_gap_have_an_interval(fails: float, n_edits: int) -> None:
    found = summarize(evidence_of("m", fails, n_edits), [STYLE], None)
    for estimate in (found.edit_failure, found.residual_belief, found.audit_gap):
        low, high = bounds(estimate)
        assert low <= estimate.value <= high  # type: ignore[operator]
        assert high - low > 0
    # Every edit passes its prompt: the gap is the failure.
    assert found.audit_gap.value == pytest.approx(found.edit_failure.value)
    bounds(found.self_contradiction)


def test_equal_models_do_not_differ() -> None:
    twins = [evidence_of(name, 0.5, 6) for name in ("a", "b")]
    (found,) = differences(twins, STYLE)
    low, high = bounds(found.edit_failure)
    assert found.edit_failure.value == 0.0
    assert low == -high
    assert 0 < high < 0.1


def test_a_worse_model_differs() -> None:
    (found,) = differences([evidence_of("bad", 1.0, 6), evidence_of("good", 0.0, 6)], STYLE)
    assert found.edit_failure.value is not None and found.edit_failure.value > 0.5
    assert bounds(found.edit_failure)[0] > 0.2


def test_sources_have_bands_and_are_compared() -> None:
    found = summarize(evidence_of("m", 0.5, 6), [STYLE], None)
    assert [c.second for c in found.comparisons] == [s.source for s in found.sources[1:]]
    for source in found.sources:
        assert len(source.failing_low) == len(source.failing_high) == len(source.asked)
        assert source.failing[-1] == pytest.approx(source.n_failing)
        assert source.modes[-1] == pytest.approx(source.n_modes)
    for comparison in found.comparisons:
        assert comparison.at == min(
            s.n_asked for s in found.sources if s.source in (comparison.first, comparison.second)
        )
        low, high = bounds(comparison.failing)
        assert low <= comparison.failing.value <= high  # type: ignore[operator]


def test_discovery_is_of_your_own_questions_where_there_are_any() -> None:
    """Paraphrases are asked first, and all of them fail; of the own questions none does."""
    evidence = evidence_of("model", 0.0, 6)
    own = [msgspec.structs.replace(row, sources=(OWN,)) for row in evidence.rows]
    failing = [
        msgspec.structs.replace(row, sources=(PARAPHRASE,), weight=0.0)
        for row in evidence_of("model", 1.0, 6).rows
    ]
    both = replace(evidence, rows=[*failing, *own])
    assert summarize(both, [STYLE], None).discovery.value == 0.0


def test_the_matrix_counts_the_questions_of_every_source() -> None:
    """Of 24 questions about an edit 16 are draws; the row OLD has all failing ones of the facts."""
    evidence = evidence_of("m", 0.5, 12)
    found = summarize(evidence, [STYLE], None)
    assert sum(map(sum, found.matrix)) == 12 * 24
    old = dict(zip(VERDICTS, found.matrix[VERDICTS.index("OLD")], strict=True))
    assert sum(old.values()) == sum(fact.n_known for fact in found.facts)
    assert sum(old.values()) - old["NEW"] == sum(fact.n_failing for fact in found.facts)


def test_edits_that_a_source_did_not_ask_about_make_no_band() -> None:
    """Paraphrases of three of twelve edits: a band needs four, and none of the others is asked."""
    evidence = evidence_of("m", 0.5, 12)
    keys = list(dict.fromkeys(row.fact_key for row in evidence.rows))[:3]
    rows = [r for r in evidence.rows if PARAPHRASE not in r.sources or r.fact_key in keys]
    found = summarize(replace(evidence, rows=rows), [STYLE], None)
    (paraphrases,) = [source for source in found.sources if source.source == PARAPHRASE]
    assert paraphrases.n_asked == 6
    assert (paraphrases.failing_low, paraphrases.modes_low) == ((), ())
    # Fewer than four edits: the interval is that of six equal trials.
    equal = proportion(paraphrases.n_failing, 6)
    assert paraphrases.per_100.high == pytest.approx(100 * bounds(equal)[1])


def test_a_forced_score_that_nobody_can_read_says_so() -> None:
    """A server that reads no text back: the prompts were asked, and their answers are free."""
    evidence = evidence_of("m", 0.5, 6)
    free = replace(evidence, prompts=[AskedPrompt("NEW", "", None)] * 6)
    found = summarize(free, [STYLE], None)
    assert found.asked_free.value == 1.0
    assert found.asked_forced.note == f"no estimate: {NOT_READ}"
    none = replace(evidence, prompts=[AskedPrompt("", "", None)] * 6)
    assert summarize(none, [STYLE], None).asked_forced.note == f"no estimate: {NO_PROMPT}"
