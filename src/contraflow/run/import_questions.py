"""Import a user's own questions into replay: read, tokenize, score like any other, admit.

A line needs ``question`` and the fact that it is about: ``fact_id`` (or the fact's key), or
``subject`` where only one fact has it. Lines that `contraflow replay export` wrote for the same
models and prompts keep their scores, if the fact has not been changed since. All others are
answered by the oracle, compared by the judge and weighed by the base model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import UserError
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.facts.encoding import UTF8_BOM
from contraflow.facts.fact import numbered_lines
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import SEEDED, ReplayStore, scores_part
from contraflow.replay.codec import check_batch
from contraflow.reward.schedule import priorities
from contraflow.run.build import assemble
from contraflow.run.own_objects import SCORING, recorded_objects
from contraflow.run.replay import open_replay, replay_namespace
from contraflow.run.session import Run
from contraflow.settings import Config
from contraflow.system.input_file import require_file
from contraflow.text.folding import caseless
from contraflow.types import ScoredQuestion

_BATCH_SIZE = 64


@dataclass(frozen=True)
class ImportedQuestion:
    """One line of the file."""

    where: str  # file:line
    fact: Fact
    question: str
    row: dict[str, Any]  # the whole line, which may hold scores


@dataclass
class ImportOutcome:
    """How many questions were scored, came with scores, were admitted, and which were left out."""

    scored: int = 0
    brought_scores: int = 0
    admitted: int = 0
    left_out: list[str] = field(default_factory=list)  # file:line and the reason


def read_questions(path: Path, facts: Sequence[Fact]) -> list[ImportedQuestion]:
    """Read a JSONL file of questions.

    Raises: UserError with file:line for the first line that is no question about one of the facts.
    """
    require_file(path, key="questions")
    by_id = {fact.key: fact for fact in facts} | {fact.fact_id: fact for fact in facts}
    by_subject: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_subject[caseless(fact.subject)].append(fact)
    return [_parse(f"{path}:{number}", line, by_id, by_subject) for number, line in _lines(path)]


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """The numbered lines that are not blank. Raises: UserError where there is none."""
    with suppress(OSError):  # `numbered_lines` names it
        if not path.read_bytes().removeprefix(UTF8_BOM).strip():
            raise UserError(
                f"questions={path}: is empty; write one object per line with question, and fact_id "
                "or subject"
            )
    return numbered_lines(path)


def _parse(
    where: str, line: bytes, by_id: dict[str, Fact], by_subject: dict[str, list[Fact]]
) -> ImportedQuestion:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{where}: is not valid JSON ({error}); write one object per line"
        ) from None
    if not isinstance(row, dict):
        raise UserError(f'{where}: is not a JSON object; write {{"question": …, "fact_id": …}}')
    question = row.get("question")
    if not isinstance(question, str) or not question.strip(" ?"):
        raise UserError(f"{where}: 'question' must be there and be a text that is not empty")
    return ImportedQuestion(where, _fact_of(where, row, by_id, by_subject), question.strip(), row)


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
    found = by_subject.get(caseless(subject.strip()), [])
    if len(found) != 1:
        many = f"{len(found)} facts have" if found else "no fact has"
        raise UserError(f"{where}: {many} the subject {subject!r}; give its fact_id")
    return found[0]


def import_questions(
    config: Config,
    folder: Path | None,
    questions: Sequence[ImportedQuestion],
    on_questions: Callable[[int], None],
) -> ImportOutcome:
    """Score the questions that have no scores and admit all of them to replay.

    ``on_questions`` is called with the number of questions that were just processed.

    Raises: UserError for the folder of a run that scores with objects of its own.
    """
    if folder is not None:
        _check_scored_by_config(folder)
    run = Run.of("import", assemble(config, adapter=None))
    run.check_facts(list({q.fact.key: q.fact for q in questions}.values()))
    scorer = Scorer(run.policy, run.oracle, run.judge, sampler=SEEDED)
    namespace = replay_namespace(config, run.policy, run.oracle, run.judge, folder)
    outcome = ImportOutcome()
    with open_replay(config, namespace, folder) as replay:
        for start in range(0, len(questions), _BATCH_SIZE):
            some = questions[start : start + _BATCH_SIZE]
            scored = _scored(some, scorer, replay, outcome)
            if scored:
                outcome.admitted += replay.add(scored, priorities(run.reward, scored))
            on_questions(len(some))
        refused = replay.stats()["refused"]
    if refused:
        raise UserError(
            f"the replay server had no room for {refused} of {len(questions)} questions; "
            "make room there"
        )
    return outcome


def _check_scored_by_config(folder: Path) -> None:
    for role, text in recorded_objects(folder).items():
        if role in SCORING:
            raise UserError(
                f"{folder} was trained with its own {role}, {text}, and only Python has it; "
                "name the folder of a run without one"
            )


def _scored(
    questions: Sequence[ImportedQuestion],
    scorer: Scorer,
    replay: ReplayStore,
    outcome: ImportOutcome,
) -> list[ScoredQuestion]:
    parts = scores_part(replay.stats()["namespace"])
    with_scores: list[ScoredQuestion] = []
    to_score: list[SampledQuestion] = []
    for question in questions:
        if _scores_hold(question, parts):
            with_scores.append(_with_its_scores(question, scorer.policy))
            continue
        ids = token_ids(question.question, scorer.policy)
        if isinstance(ids, str):
            outcome.left_out.append(f"{question.where}: {ids}")
            continue
        to_score.append(SampledQuestion(question.fact, ids, scorer.policy.question_text(ids)))
    outcome.brought_scores += len(with_scores)
    outcome.scored += len(to_score)
    return with_scores + (scorer.score(to_score, step=0) if to_score else [])


def _scores_hold(question: ImportedQuestion, parts: str) -> bool:
    """Whether a line has scores by the models and prompts of ``parts``, of the fact as it is now.

    Lines of older versions do not say how the fact was, and are scored again.
    """
    namespace = question.row.get("namespace")
    is_same = isinstance(namespace, str) and scores_part(namespace) == parts
    return is_same and question.row.get("fact_hash") == question.fact.content_hash


def _with_its_scores(question: ImportedQuestion, policy: LoraPolicy) -> ScoredQuestion:
    # The token ids of the line stay: a sampler may spell a word in other tokens than the tokenizer.
    fields = ScoredQuestion.__struct_fields__
    known = {name: question.row[name] for name in fields if name in question.row}
    fact = question.fact
    known |= {"fact_id": fact.fact_id, "fact_hash": fact.content_hash, "sampler": SEEDED}
    try:
        scored = msgspec.convert(known, ScoredQuestion)
        check_batch([scored], [0.0])
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError(
            f"{question.where}: has a namespace but not the scores of one ({error})"
        ) from None
    ids = scored.question_ids
    if not policy.constraints.admits(ids) or policy.question_text(ids) != question.question:
        raise UserError(
            f"{question.where}: question_ids are not those of the question; "
            "leave namespace out to score it"
        )
    return scored


def token_ids(question: str, policy: LoraPolicy) -> tuple[int, ...] | str:
    """Return the tokens by which the policy would write this question, or why it cannot.

    The first word has a space in front, unless the prompt ends in white space. A chat prompt ends
    in a line break, after which the base model gives a leading space almost no probability.
    """
    body = question.rstrip("? ")
    texts = [f" {body}", body]
    if policy.prompt.body_template[-1:].isspace():
        texts.reverse()
    rows = [tuple(policy.lm.encode(text)) for text in texts]
    for ids in rows:
        if policy.constraints.admits(ids) and policy.lm.decode(ids).strip() == body:
            return ids
    least = policy.constraints.min_len
    most = policy.constraints.max_len
    n = len(rows[0])
    if not least <= n <= most:
        return (
            f"the question has {n} tokens; policy.min_question_len … max_question_len is "
            f"{least} … {most}"
        )
    return "the sampler cannot write this question: a token of it is outside of policy.vocabulary"
