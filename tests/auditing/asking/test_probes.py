"""What an edit must keep: which questions are asked about it, and how often each one counts."""

from __future__ import annotations

import pytest

from contraflow.auditing.asking.ask import Answers
from contraflow.auditing.asking.probes import (
    MAX_LOST_SHOWN,
    AskedProbe,
    as_locality,
    asked_probes,
    count_degenerate,
    probe_rates,
    unaffected,
)
from contraflow.auditing.report.page_details import _lost
from contraflow.auditing.statistics.estimates import wilson
from contraflow.facts import Fact
from contraflow.facts.edit import Edit, Probe
from contraflow.types import Answer


def edit_of(subject: str, original: str, edited: str, *paraphrases: str, prefix: str = "") -> Edit:
    fact = Fact(
        fact_id=subject,
        subject=subject,
        edit_fact=f"The capital of {subject} is {edited}.",
        original_answer=original,
        edited_answer=edited,
        question=f"What is the capital of {subject}?",
    )
    return Edit(
        fact=fact,
        prompt=f"The capital of {subject} is",
        paraphrases=paraphrases,
        prefix=prefix,
    )


def local(prompt: str, *answers: str, kind: str = "locality/neighborhood") -> Probe:
    return Probe(kind=kind, prompt=prompt, answers=answers)


NORWAY, JAPAN = edit_of("Norway", "Oslo", "Bergen", "Norway's capital?"), edit_of("Japan", "", "Oz")


@pytest.mark.parametrize(
    ("probe", "is_kept"),
    [
        (local("What is the capital of Norway?", "Oslo"), False),  # the plain question of an edit
        (local("the capital of Norway is", "Oslo"), False),  # the prompt of an edit
        (local("Norway's capital?", "Oslo"), False),  # a paraphrase
        (local("Which city governs Norway?", "Oslo"), False),  # another wording, the old answer
        (local("What is the capital of Japan?", "Tokyo"), False),  # an edit without an old answer
        (local("Which language is spoken in Norway?", "Norwegian"), True),
        (local("Which city hosted the 1952 games?", "Oslo"), True),  # not about the subject
        (local("What is the capital of Norway?", "Bergen", kind="portability/alias"), True),
    ],
)
def test_what_one_edit_changes_is_no_locality_question_of_another(
    probe: Probe, is_kept: bool
) -> None:
    """The file's own locality question of a third edit may be about these two."""
    other = edit_of("Peru", "Lima", "Quito")
    mine = local("What is the capital of Chile?", "Santiago")
    probes = [(other, probe), (NORWAY, mine), (JAPAN, mine), (other, mine)]
    found = [kept for _, kept in unaffected(probes)]
    assert (probe in found) == is_kept
    assert found.count(mine) == 3


def test_a_locality_question_of_any_kind_is_one() -> None:
    """`kind` is any word in an edits file: "same relation" was asked and counted nowhere."""
    probe = local("Who wrote Faust?", "Goethe", kind="same relation")
    assert as_locality(probe).kind == "locality/same relation"
    assert as_locality(as_locality(probe)) == as_locality(probe)


def rates_of(asked: list[AskedProbe], right: int) -> tuple[Answers, Answers]:
    """The control is right everywhere, the edited model on the first ones."""
    pre = {a.before: Answer(a.probe.answers[0], 0.0) for a in asked}
    post = {
        a.after: Answer(a.probe.answers[0] if i < right else "Rome.", 0.0)
        for i, a in enumerate(asked)
    }
    return pre, post


def test_a_question_that_edits_share_counts_once() -> None:
    """24 edits of a relation have four neighbors each; here these are the same four."""
    shared = [local(f"What is the capital of {c}?", c.upper()) for c in "abcd"]
    edits = [edit_of(f"Land{i}", "Old", "New") for i in range(24)]
    asked = asked_probes([(edit, probe) for edit in edits for probe in shared], "few_shot")
    assert len(asked) == 4
    pre, post = rates_of(asked, right=3)
    (rate,) = probe_rates(asked, pre, post)
    assert (rate.n, rate.kept.value) == (4, 0.75)
    assert (rate.kept.low, rate.kept.high) == pytest.approx(wilson(0.75, 4))
    assert count_degenerate(asked, post)[1] == 4


def test_an_edit_in_the_prompt_makes_it_another_question() -> None:
    probe = local("What is the capital of Chile?", "Santiago")
    edits = [edit_of(c, "Old", "New", prefix=f"{c} has a new capital.\n") for c in "ab"]
    assert len(asked_probes([(edit, probe) for edit in edits], "few_shot")) == 2


def test_the_report_counts_all_lost_answers_and_shows_the_first() -> None:
    n = MAX_LOST_SHOWN * 3
    probes = [(NORWAY, local(f"Question {i} is", "Oslo")) for i in range(n)]
    asked = asked_probes(probes, "few_shot")
    (rate,) = probe_rates(asked, *rates_of(asked, right=0))
    assert f"{n} lost answers ({MAX_LOST_SHOWN} of them here)" in str(_lost(rate))
    (rate,) = probe_rates(asked[:3], *rates_of(asked[:3], right=2))
    assert "<summary>1 lost answer</summary>" in str(_lost(rate))
