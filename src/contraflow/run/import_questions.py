"""Questions that a person brings: read, turned into tokens, scored like any other, and put into
replay.

A line needs ``question`` and the fact that it is about: ``fact_id``, or ``subject`` where only one
fact has it. Lines that `contraflow replay export` wrote under the same namespace bring their scores
along; all others are answered by the configured oracle, compared by the judge and weighed by the
base model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import UserError
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.facts.fact import numbered_lines
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import SEEDED, ReplayStore
from contraflow.replay.codec import check_batch
from contraflow.reward.schedule import RewardParts
from contraflow.run import build
from contraflow.settings import Config
from contraflow.types import ScoredQuestion

_AT_ONCE = 64


@dataclass(frozen=True)
class Seed:
    """One line: the question, its fact, and where it stands in the file."""

    where: str
    fact: Fact
    question: str
    row: dict[str, Any]  # as it was read, for scores that it may bring along


@dataclass
class ImportOutcome:
    """What became of the lines."""

    scored: int = 0
    brought_scores: int = 0
    admitted: int = 0
    left_out: list[str] = field(default_factory=list)  # file:line and why


def read_questions(path: Path, facts: Sequence[Fact]) -> list[Seed]:
    """The lines of a JSONL file. Raises: UserError with file:line for the first that is no question
    about a fact.
    """
    if not path.is_file():
        raise UserError(f"questions={path}: no such file; check the path")
    by_id, by_subject = {fact.fact_id: fact for fact in facts}, defaultdict(list)
    for fact in facts:
        by_subject[fact.subject.casefold()].append(fact)
    seeds = [
        _seed(f"{path}:{number}", line, by_id, by_subject) for number, line in numbered_lines(path)
    ]
    if not seeds:
        raise UserError(
            f"questions={path}: is empty; write one object with question and fact_id a line"
        )
    return seeds


def _seed(
    where: str, line: bytes, by_id: dict[str, Fact], by_subject: dict[str, list[Fact]]
) -> Seed:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{where}: is not valid JSON ({error}); write one object a line") from None
    if not isinstance(row, dict):
        raise UserError(f'{where}: is not a JSON object; write {{"question": …, "fact_id": …}}')
    question = row.get("question")
    if not isinstance(question, str) or not question.strip(" ?"):
        raise UserError(f"{where}: 'question' must be there and be a text that is not empty")
    return Seed(where, _fact_of(where, row, by_id, by_subject), question.strip(), row)


def _fact_of(
    where: str, row: dict[str, Any], by_id: dict[str, Fact], by_subject: dict[str, list[Fact]]
) -> Fact:
    fact_id, subject = row.get("fact_id"), row.get("subject")
    if isinstance(fact_id, str) and fact_id:
        if fact_id in by_id:
            return by_id[fact_id]
        raise UserError(
            f"{where}: no fact has the fact_id {fact_id!r}; give the facts with facts=FILE"
        )
    if not isinstance(subject, str) or not subject.strip():
        raise UserError(
            f"{where}: needs fact_id, or subject, to tell which fact the question is about"
        )
    found = by_subject.get(subject.strip().casefold(), [])
    if len(found) != 1:
        many = f"{len(found)} facts have" if found else "no fact has"
        raise UserError(f"{where}: {many} the subject {subject!r}; give its fact_id")
    return found[0]


def seed(
    config: Config, folder: Path | None, seeds: Sequence[Seed], on_seeds: Callable[[int], None]
) -> ImportOutcome:
    """Score what has no scores and admit all; ``on_seeds`` hears how many more are done."""
    lm = build.load_lm(config)
    oracle, judge = build.load_oracle(config, lm), build.load_judge(config)
    policy = build.load_policy(config, lm, with_adapter=False)
    policy.encode(list({s.fact.fact_id: s.fact for s in seeds}.values()))
    scorer = Scorer(policy, oracle, judge, sampler=SEEDED)
    namespace = build.replay_namespace(config, policy, oracle, judge)
    with build.open_replay(config, namespace, folder) as replay:
        outcome = ImportOutcome()
        for start in range(0, len(seeds), _AT_ONCE):
            some = seeds[start : start + _AT_ONCE]
            _admit(_scored(some, scorer, replay, outcome), config, replay, outcome)
            on_seeds(len(some))
        refused = replay.stats()["refused"]
    if refused:
        raise UserError(
            f"the replay server had no room for {refused} of {len(seeds)} questions; make room there"
        )
    return outcome


def _scored(
    seeds: Sequence[Seed], scorer: Scorer, replay: ReplayStore, outcome: ImportOutcome
) -> list[ScoredQuestion]:
    namespace = replay.stats()["namespace"]
    ready, drawn = [], []
    for one in seeds:
        if one.row.get("namespace") == namespace:
            ready.append(_with_its_scores(one, scorer.policy))
            continue
        ids = token_ids(one.question, scorer.policy)
        if isinstance(ids, str):
            outcome.left_out.append(f"{one.where}: {ids}")
        else:
            drawn.append(SampledQuestion(one.fact, ids, scorer.policy.lm.decode(ids).strip() + "?"))
    outcome.brought_scores += len(ready)
    outcome.scored += len(drawn)
    return ready + (scorer.score(drawn, step=0) if drawn else [])


def _with_its_scores(one: Seed, policy: LoraPolicy) -> ScoredQuestion:
    # Its own token ids stay: a sampler often spells a word in other pieces than the tokenizer
    # would.
    known = {
        name: one.row.get(name) for name in ScoredQuestion.__struct_fields__ if name in one.row
    }
    try:
        scored = msgspec.convert(
            known | {"fact_id": one.fact.fact_id, "sampler": SEEDED}, ScoredQuestion
        )
        check_batch([scored], [0.0])
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError(
            f"{one.where}: has a namespace but not the scores of one ({error})"
        ) from None
    ids = scored.question_ids
    if not policy.constraints.admits(ids) or policy.lm.decode(ids).strip() + "?" != one.question:
        raise UserError(
            f"{one.where}: question_ids are not those of the question; leave namespace out to score it"
        )
    return scored


def _admit(
    scored: list[ScoredQuestion], config: Config, replay: ReplayStore, outcome: ImportOutcome
) -> None:
    if scored:
        priorities = build.build_reward(config).priority(RewardParts.of(scored)).tolist()
        outcome.admitted += replay.add(scored, priorities)


def token_ids(question: str, policy: LoraPolicy) -> tuple[int, ...] | str:
    """The tokens by which the policy would write this question, or why it cannot.

    The first word has its space in front, unless the prompt ends in white space: a chat's ends in a
    line break, after which the spelling with a space is one that the base model finds absurd.
    """
    body = question.rstrip("? ")
    texts = [f" {body}", body]
    if policy.prompt.body_template[-1:].isspace():
        texts.reverse()
    rows = [tuple(policy.lm.encode(text)) for text in texts]
    for ids in rows:
        if policy.constraints.admits(ids) and policy.lm.decode(ids).strip() == body:
            return ids
    least, most, n = policy.constraints.min_len, policy.constraints.max_len, len(rows[0])
    if not least <= n <= most:
        return f"the question has {n} tokens; policy.min_question_len … max_question_len is {least} … {most}"
    return "the sampler cannot write this question: a token of it is outside of policy.vocabulary"
