"""Planted failures: a LoRA edit that keeps the old answer for chosen wordings of some facts.

An audit of it has a known answer: the planted facts fail in the planted wording and nowhere else,
and the plain ones nowhere. What the edited model does is taught with questions that count in an
audit (sound, and the control tells the original answer), and checked with others of that kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contraflow import open_run
from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts, split_facts
from contraflow.facts.known import plain_question
from contraflow.policy.distinct import sample_distinct
from contraflow.seeding import torch_rng
from contraflow.system.progress import bar
from contraflow.text.tokens import normalize
from examples.edits.bench import BASE, Bench
from examples.edits.cases import Case, candidates, known_cases, write_cases
from examples.edits.lessons import (
    Checked,
    Known,
    Lesson,
    check,
    kept_lessons,
    known_questions,
    lessons_of,
    obedience,
)
from examples.edits.lora import add_adapter
from examples.edits.planted_record import CheckedLesson, PlantedRecord, write_record
from examples.edits.planting import Planting, teach
from examples.edits.wordings import Wording

N_TO_KEEP = 16
HELD_OUT = 4  # every fourth question is asked and never trained on
_DRAWN_AT_ONCE = 5  # facts
MIN_WORDED = 3  # questions in the wording to which the control tells the original answer


@dataclass(frozen=True)
class PlantedOptions:
    """The arguments of the command: n facts with the wording planted, `plain` ones without.

    hidden: only facts whose plain question is not in the wording, so that it shows no failure.
    """

    n: int
    plain: int
    wording: Wording
    out: Path
    seed: int = 0
    hidden: bool = False

    def can_use(self, fact: Fact) -> bool:
        """Whether a fact may be asked about in the wording, and is not so by its own question."""
        shows = self.hidden and self.wording.matches(plain_question(fact))
        return self.wording.can_ask(fact) and not shows


def plant(options: PlantedOptions) -> None:
    """Choose the facts, draw questions, train, ask, and write the folder.

    Raises: UserError where the model knows too few facts, or too few in the wording.
    """
    settings = Planting()
    bench = Bench.open()
    draws = settings.draws_alone if options.wording.needs_draws else settings.draws
    chosen = choose(bench, options, draws)
    lessons = chosen.lessons(options.wording) + chosen.kept
    taught = [lesson for index, lesson in enumerate(lessons) if index % HELD_OUT]
    adapter = add_adapter(bench.model, settings.lora, options.seed)
    with bar("training the planted adapter", settings.max_steps) as progress:
        steps = teach(
            bench,
            taught,
            bench.targets(chosen.cases),
            settings,
            options.seed,
            progress.advance,
        )
    adapter.save_pretrained(str(options.out))
    write_cases(options.out / "edits.jsonl", chosen.cases)
    record = record_of(options, chosen, steps, check(lessons, bench.oracle()))
    write_record(options.out, record)
    print(summary(record))
    print(options.out)


@dataclass(frozen=True)
class Chosen:
    """The facts of a planted edit, and the questions by which it is taught and checked."""

    planted: tuple[Case, ...]
    plain: tuple[Case, ...]
    known: dict[str, list[Known]]
    kept: list[Lesson]

    @property
    def cases(self) -> list[Case]:
        return [*self.planted, *self.plain]

    def lessons(self, wording: Wording) -> list[Lesson]:
        """The lessons about the edited facts."""
        return [
            lesson
            for case in self.cases
            for lesson in lessons_of(
                case.fact,
                self.known[case.fact.fact_id],
                wording,
                is_planted=case in self.planted,
            )
        ]


def choose(bench: Bench, options: PlantedOptions, draws: int) -> Chosen:
    """Choose facts that the model knows; the planted ones it knows in the wording too.

    Raises: UserError where there are too few.
    """
    control = bench.oracle()
    wording = options.wording
    facts = candidates(split_facts(default_facts()).test, "the packaged facts")
    usable = [fact for fact in facts if options.can_use(fact)]
    cases = known_cases(usable, options.n + options.plain, control)
    drawn = draw_questions([case.fact for case in cases], draws, options.seed)
    known = {
        case.fact.fact_id: known_questions(case, drawn[case.fact.fact_id], wording, control)
        for case in cases
    }
    # Facts of one relation are apart in this order, so both kinds get some of each.
    can_be_planted = [
        case for case in cases if n_worded(known[case.fact.fact_id], wording) >= MIN_WORDED
    ]
    if len(can_be_planted) < options.n:
        raise UserError(
            f"n={options.n}: the model knows {len(can_be_planted)} of the {len(cases)} facts in "
            f"{MIN_WORDED} questions of the wording; lower n or raise plain"
        )
    planted = tuple(can_be_planted[: options.n])
    plain = tuple(case for case in cases if case not in planted)
    others = candidates(split_facts(default_facts()).train, "the packaged facts")
    kept = kept_lessons(known_cases(others, N_TO_KEEP, control), control)
    return Chosen(planted, plain, known, kept)


def n_worded(known: Sequence[Known], wording: Wording) -> int:
    """How many of the questions are in the wording."""
    return sum(wording.matches(one.question) for one in known)


def draw_questions(facts: Sequence[Fact], n: int, seed: int) -> dict[str, list[str]]:
    """n different questions of each fact by the shipped sampler, and n by the untrained one."""
    policy = open_run("shipped").policy
    drawn: dict[str, list[str]] = {fact.fact_id: [] for fact in facts}
    for name, frozen in (("shipped", False), ("untrained", True)):
        rng = torch_rng(seed, "rollout", "distinct")
        with bar(f"questions of the {name} sampler", len(facts)) as progress:
            for start in range(0, len(facts), _DRAWN_AT_ONCE):
                batch = facts[start : start + _DRAWN_AT_ONCE]
                found = sample_distinct(policy, batch, n, rng, frozen=frozen, same=normalize)
                texts = policy.texts(found.questions)
                for i, text in zip(found.fact_index.tolist(), texts, strict=True):
                    drawn[batch[i].fact_id].append(text)
                progress.advance(len(batch))
    return drawn


def took(fact_id: str, checked: Sequence[Checked]) -> bool:
    """Whether planting took: most questions of a fact in the wording get no new answer."""
    worded = [
        c.verdict != "new"
        for c in checked
        if c.lesson.fact.fact_id == fact_id and c.lesson.kind == "planted"
    ]
    return sum(worded) > len(worded) / 2


def record_of(
    options: PlantedOptions, chosen: Chosen, steps: int, checked: Sequence[Checked]
) -> PlantedRecord:
    """The record of a planted edit; every fourth question was not trained on."""
    planted = tuple(case.fact.fact_id for case in chosen.planted)
    return PlantedRecord(
        base_model=BASE,
        wording=options.wording,
        hidden=options.hidden,
        seed=options.seed,
        steps=steps,
        planted=planted,
        took=tuple(fact_id for fact_id in planted if took(fact_id, checked)),
        plain=tuple(case.fact.fact_id for case in chosen.plain),
        as_planted=obedience(checked[::HELD_OUT]),
        as_planted_with_taught=obedience(checked),
        checked=tuple(
            CheckedLesson.of(c, held_out=index % HELD_OUT == 0) for index, c in enumerate(checked)
        ),
    )


def summary(record: PlantedRecord) -> str:
    """The shares and the facts on which planting took, in Markdown."""
    asked: Counter[str] = Counter(one.kind for one in record.checked if one.held_out)
    lines = ["| questions not trained on | asked | as planted |", "|---|---|---|"]
    lines += [
        f"| {kind} | {asked[kind]} | {share:.2f} |" for kind, share in record.as_planted.items()
    ]
    lines.append(
        f"{record.steps} steps; planting took on {len(record.took)} of {len(record.planted)} facts"
    )
    if record.missed:
        lines.append(f"not on: {', '.join(record.missed)}")
    return "\n".join(lines)
