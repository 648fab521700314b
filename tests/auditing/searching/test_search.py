"""Search by adapting over a tiny sampler: what is borrowed, asked, and given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
import torch

from contraflow.auditing.asking.ask import is_sound
from contraflow.auditing.asking.evidence import Evidence
from contraflow.auditing.asking.pipeline import Audit, AuditSettings
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.result import ModelInfo
from contraflow.auditing.outcome.rows import ADAPTED, PLAIN, PRIOR, Row
from contraflow.auditing.searching.adapt import AdaptSettings
from contraflow.auditing.searching.borrowed import RARER, log_prior_of
from contraflow.auditing.searching.failure_reward import FailureReward
from contraflow.auditing.searching.openings import opened_questions, opening_of
from contraflow.auditing.searching.search import EditSearch, adapted, check_can_adapt
from contraflow.errors import UserError
from contraflow.exactness.space import TableJudge
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.policy.lora import LoraPolicy
from contraflow.run.answer_book import AnswerBook
from contraflow.types import Answer, AskStyle, Forced
from support.decoding import policies
from support.models import fresh_lm

OLD, NEW = "Paris", "Lyon"
SETTINGS = AdaptSettings(steps=2, n_questions=4)
OWN = "what is rome?"
# Questions about Hamlet that fail; about Rome they are short and long ones, and one is not sound.
FAILING = (
    "who wrote hamlet?",
    "who is hamlet?",
    "in what is hamlet?",
    "what is the capital of hamlet?",
    "what capital is in the hamlet?",
    "hamlet of the city?",
)
UNSOUND = "rome of the city?"


@dataclass
class Rule:
    """A model that answers by a rule, and notes what it was asked."""

    name: str
    fails: bool

    def __post_init__(self) -> None:
        self.identity = self.name
        self.asked: list[str] = []

    def oracle(self, style: AskStyle) -> Rule:  # noqa: ARG002
        return self

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.asked += questions
        return [Answer(self._answer(text), 0.0) for text in questions]

    def _answer(self, question: str) -> str:
        return f"It is {OLD if self.fails or 'who' in question else NEW}."

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced] | None:
        raise NotImplementedError


def fact(subject: str) -> Fact:
    return Fact(
        fact_id=subject,
        subject=subject,
        edit_fact=f"the city of {subject} is {NEW}",
        original_fact=f"the city of {subject} is {OLD}",
        original_answer=OLD,
        edited_answer=NEW,
    )


ROME, HAMLET = fact("rome"), fact("hamlet")


def row(of: Fact, question: str, source: str, post: str) -> Row:
    return Row(
        model="edited",
        fact_key=of.key,
        fact_id=of.fact_id,
        subject=of.subject,
        edit_fact=of.edit_fact,
        question=question,
        sources=(source,),
        style="bare",
        sound=True,
        weight=0.0,
        log_p_prior=None,
        log_pf=None,
        pre="OLD",
        post=post,
        pre_answer="",
        post_answer="",
    )


@dataclass
class Found:
    """What adapting added to an audit of two edits, and its models."""

    policy: LoraPolicy
    control: Rule
    edited: Rule
    rows: list[Row]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    return searched(tmp_path, [ROME])


def searched(out: Path, counted: Sequence[Fact]) -> Found:
    policy = policies(fresh_lm())[0]
    control, edited = Rule("control", fails=True), Rule("edited", fails=False)
    audit = made_audit(policy, control, edited, out)
    screened = [row(HAMLET, text, PRIOR, "OLD") for text in FAILING]
    screened.append(row(ROME, OWN, PLAIN, "NEW"))
    evidence = evidence_of(screened, counted)
    with AnswerBook(out / "answers.jsonl") as book:
        (after,) = adapted(audit, book, [evidence], TableJudge(unsure), None, SETTINGS)
    return Found(policy, control, edited, list(after.rows[len(screened) :]))


def unsure(premise: str, hypothesis: str) -> float:  # noqa: ARG001
    return -1.0


def made_audit(policy: LoraPolicy, control: Rule, edited: Rule, out: Path) -> Audit:
    return Audit(
        policy=policy,
        sampler_identity="tiny",
        control=control,
        edited=[edited],
        sources=["edited"],
        edits=[Edit(fact=ROME), Edit(fact=HAMLET)],
        settings=AuditSettings(styles=("bare",)),
        out=out,
    )


def evidence_of(rows: Sequence[Row], counted: Sequence[Fact]) -> Evidence:
    return Evidence(
        model=ModelInfo(name="edited", source="edited", identity="edited"),
        standings=[
            Standing(Edit(fact=of), OLD, "file", "" if of in counted else "not counted")
            for of in (ROME, HAMLET)
        ],
        prompts=(),
        rows=rows,
        probes=(),
        gates=(),
        degenerate=(0, 0),
        largest_unseen={},
    )


def test_only_natural_sound_wordings_are_borrowed(found: Found) -> None:
    """Both models are asked those first that P_Q asks at most 20 times more rarely than its own."""
    score = log_prior_of(found.policy, ROME)
    (own,) = score([OWN])
    texts = [text.replace("hamlet", "rome") for text in FAILING]
    log_p = dict(zip(texts, score(texts), strict=True))
    assert own is not None and None not in log_p.values()
    natural = [t for t in texts if (log_p[t] or 0.0) >= own - RARER and t != UNSOUND]
    assert 0 < len(natural) < len(texts) - 1
    n = len(natural)
    assert found.control.asked[:n] == found.edited.asked[:n] == natural
    assert [row.question for row in found.rows[:n]] == natural
    assert UNSOUND not in found.edited.asked[:n]


def test_what_opens_as_a_failure_does_is_asked_next(found: Found) -> None:
    """Sound questions of P_Q after "who", "in", "what": behind the borrowed ones, once each."""
    screened = [row(HAMLET, text, PRIOR, "OLD") for text in FAILING]
    screened.append(row(ROME, OWN, PLAIN, "NEW"))
    opened = opened_questions(
        found.policy, screened, ROME, 0, lambda text: is_sound(Edit(fact=ROME), OLD, text)
    )
    texts = [text.replace("hamlet", "rome") for text in FAILING]
    n = next(i for i, text in enumerate(found.edited.asked) if text not in texts)
    new = [text for text in opened if text not in texts]
    assert len(new) > 0
    assert found.edited.asked[n : n + len(new)] == new
    assert {opening_of(text) for text in new} <= {"who", "in", "what", "hamlet"}


def test_what_is_found_has_no_weight(found: Found) -> None:
    """Only about the counted edit; "who" fails, and the control is asked the same."""
    assert {row.fact_key for row in found.rows} == {ROME.key}
    assert {row.sources for row in found.rows} == {(ADAPTED,)}
    assert all(row.weight == 0 for row in found.rows)
    assert sum(row.fails for row in found.rows) >= 2
    assert all(row.fails == ("who" in row.question) for row in found.rows if row.sound)
    assert len(found.rows) > SETTINGS.n_questions
    assert set(found.control.asked) == set(found.edited.asked)
    assert len(found.edited.asked) == len(set(found.edited.asked))


def test_the_sampler_is_as_it_was(found: Found) -> None:
    fresh = policies(fresh_lm())[0]
    pairs = zip(found.policy.lm.model.parameters(), fresh.lm.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_cost_is_told_before_and_after_one_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """16 borrowed, 16 opened and 2 steps of 4 at most; then the time, by the first of two."""
    rows = searched(tmp_path, [ROME, HAMLET]).rows
    assert {row.fact_key for row in rows} == {ROME.key, HAMLET.key}
    lines = capsys.readouterr().err.splitlines()
    assert "adapting, 2 steps for each of 2 edits: up to 40 questions an edit" in lines[0]
    assert lines[1].startswith("2 steps for each of 2 edits: about ")


def test_a_finished_search_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second audit of a folder has the rows of the first, and draws nothing."""
    first = searched(tmp_path, [ROME, HAMLET])
    monkeypatch.delattr("contraflow.auditing.searching.search.adapt")
    again = searched(tmp_path, [ROME, HAMLET])
    assert again.rows == first.rows
    assert not again.edited.asked


def test_a_search_whose_line_was_cut_is_made_again(tmp_path: Path) -> None:
    """And kept then, with those before it."""
    first = searched(tmp_path, [ROME, HAMLET])
    path = tmp_path / "searches.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    again = searched(tmp_path, [ROME, HAMLET])
    assert again.rows == first.rows
    assert path.read_bytes() == content


def test_other_settings_or_failures_are_another_search(tmp_path: Path) -> None:
    one, two = edit_search(tmp_path, FAILING), edit_search(tmp_path, FAILING[:3])
    keys = [
        one.key(SETTINGS),
        one.key(replace(SETTINGS, seed=1)),
        one.key(replace(SETTINGS, reward=FailureReward(crowding=1))),
        two.key(SETTINGS),
    ]
    assert len(set(keys)) == 4
    assert edit_search(tmp_path, FAILING).key(SETTINGS) == keys[0]


def test_a_search_is_the_same_wherever_its_edit_stands(tmp_path: Path) -> None:
    """A moved edits file, or a line above, must not cost minutes an edit again."""
    search = edit_search(tmp_path, FAILING)
    moved = msgspec.structs.replace(search.standing.edit, place="elsewhere/edits.jsonl:7")
    other = replace(search, standing=replace(search.standing, edit=moved))
    assert other.key(SETTINGS) == search.key(SETTINGS)


def test_a_question_asked_in_three_styles_is_one_question(tmp_path: Path) -> None:
    """What is asked next depends on wordings, not on the number of styles."""
    own = row(ROME, "who is the city of rome?", PRIOR, "NEW")
    once = (*(row(HAMLET, text, PRIOR, "OLD") for text in FAILING), own)
    others = [msgspec.structs.replace(own, style=style) for style in ("few_shot", "chat")]
    standing = Standing(Edit(fact=ROME), OLD, "file", "")
    search = replace(edit_search(tmp_path, FAILING), standing=standing, screened=once)
    more = replace(search, screened=(*once, *others))
    assert more._borrowed == search._borrowed
    assert "who" in {opening_of(text) for text in search._borrowed}


def edit_search(out: Path, failing: Sequence[str]) -> EditSearch:
    """The search about Hamlet, with some of its questions known to fail."""
    policy = policies(fresh_lm())[0]
    control, edited = Rule("control", fails=True), Rule("edited", fails=False)
    audit = made_audit(policy, control, edited, out)
    rows = tuple(row(HAMLET, text, PRIOR, "OLD") for text in failing)
    standing = Standing(Edit(fact=HAMLET), OLD, "file", "")
    with AnswerBook(out / "answers.jsonl") as book:
        return EditSearch(audit, book, TableJudge(unsure), None, edited, standing, rows)


def test_the_time_is_told_for_the_searches_that_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, [HAMLET])
    capsys.readouterr()
    searched(tmp_path, [ROME, HAMLET])
    assert "steps for each of 1 edits: about" not in capsys.readouterr().err


def test_a_sampler_without_an_adapter_is_refused(tmp_path: Path) -> None:
    policy = policies(fresh_lm())[0]
    plain = LoraPolicy(fresh_lm(), policy.prompt, policy.constraints, None)
    control, edited = Rule("control", fails=True), Rule("edited", fails=False)
    check_can_adapt(made_audit(policy, control, edited, tmp_path))
    with pytest.raises(UserError, match=r"^adapt_steps: run=untrained has no adapter"):
        check_can_adapt(made_audit(plain, control, edited, tmp_path))
