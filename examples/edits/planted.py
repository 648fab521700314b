"""Planted failures: a LoRA edit that keeps the old answer for chosen wordings of some facts.

An audit of it has a known answer: the planted facts fail in the planted wording and nowhere else,
and the plain ones nowhere. What the edited model does is taught with questions that count in an
audit (sound, and the control tells the original answer), and checked with others of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contraflow import compose_config, open_run
from contraflow.errors import UserError
from contraflow.facts import Fact, default_facts, split_facts
from contraflow.system.files import write_atomically
from contraflow.system.progress import bar
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
from examples.edits.planting import Planting, teach
from examples.edits.wordings import Wording

N_TO_KEEP = 16
HELD_OUT = 4  # every fourth question is asked and never trained on
MIN_WORDED = 3  # questions in the wording to which the control tells the original answer


@dataclass(frozen=True)
class PlantedOptions:
    """The arguments of the command: n facts with the wording planted, `plain` ones without."""

    n: int
    plain: int
    wording: Wording
    out: Path
    seed: int = 0


def plant(options: PlantedOptions) -> None:
    """Choose the facts, draw questions, train, ask, and write the folder.

    Raises: UserError where the model knows too few facts, or too few in the wording.
    """
    settings = Planting()
    bench = Bench.open()
    chosen = choose(bench, options, settings.draws)
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
    checked = check(lessons, bench.oracle())
    _write_record(options, chosen, steps, checked)


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
    askable = [fact for fact in facts if wording.can_ask(fact)]
    cases = known_cases(askable, options.n + options.plain, control)
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
    drawn: dict[str, list[str]] = {fact.fact_id: [] for fact in facts}
    for name in ("shipped", "untrained"):
        run = open_run(name, compose_config([]) if name == "untrained" else None)
        with bar(f"questions of the {name} sampler", len(facts)) as progress:
            for record in run.generate(
                facts, n, seed=seed, distinct=True, on_fact=progress.advance
            ):
                drawn[record.fact_id].append(record.question)
    return drawn


def took(fact_id: str, checked: Sequence[Checked]) -> bool:
    """Whether planting took: most questions of a fact in the wording get no new answer."""
    worded = [
        c.verdict != "new"
        for c in checked
        if c.lesson.fact.fact_id == fact_id and c.lesson.kind == "planted"
    ]
    return sum(worded) > len(worded) / 2


def _write_record(
    options: PlantedOptions, chosen: Chosen, steps: int, checked: Sequence[Checked]
) -> None:
    held_out = checked[::HELD_OUT]
    shares = obedience(held_out)
    planted = [case.fact.fact_id for case in chosen.planted]
    kept_old = [fact_id for fact_id in planted if took(fact_id, checked)]
    record = {
        "base_model": BASE,
        "wording": {"kind": options.wording.kind, "phrase": options.wording.phrase},
        "seed": options.seed,
        "steps": steps,
        "planted": planted,
        "took": kept_old,
        "plain": [case.fact.fact_id for case in chosen.plain],
        "as_planted": shares,
        "as_planted_with_taught": obedience(checked),
        "checked": [_row(c, index % HELD_OUT == 0) for index, c in enumerate(checked)],
    }
    text = msgspec.json.format(msgspec.json.encode(record))
    write_atomically(options.out / "planted.json", text)
    print("| questions not trained on | asked | as planted |\n|---|---|---|")
    for kind, share in shares.items():
        print(f"| {kind} | {sum(c.lesson.kind == kind for c in held_out)} | {share:.2f} |")
    missed = [fact_id for fact_id in planted if fact_id not in kept_old]
    print(f"{steps} steps; planting took on {len(kept_old)} of {len(planted)} facts")
    if missed:
        print(f"not on: {', '.join(missed)}")
    print(options.out)


def _row(checked: Checked, held_out: bool) -> dict[str, object]:
    lesson = checked.lesson
    return {
        "fact_id": lesson.fact.fact_id,
        "question": lesson.question,
        "kind": lesson.kind,
        "expected": lesson.expected,
        "verdict": checked.verdict,
        "answer": checked.answer,
        "held_out": held_out,
    }
