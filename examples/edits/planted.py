"""Planted failures: a LoRA edit that keeps the old answer for chosen wordings of some facts.

An audit of it has a known answer: the planted facts fail in the planted wording and nowhere else,
and the plain ones nowhere. Both kinds are learned from templates and from questions that the
samplers draw, and checked by asking questions that were not trained on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from contraflow import compose_config, open_run
from contraflow.facts import Fact, default_facts, split_facts
from contraflow.models.causal_lm import CausalLM
from contraflow.models.token_tree import TokenTree
from contraflow.reward.oracle.styles import style_prompt
from contraflow.system.files import write_atomically
from contraflow.system.progress import bar
from contraflow.text.prompts import PromptTemplate
from contraflow.text.verdict import answer_verdict
from examples.edits.bench import BASE, Bench
from examples.edits.cases import Case, candidates, known_cases, write_cases
from examples.edits.lora import LoraEdit, add_adapter
from examples.edits.wordings import Wording

N_TO_KEEP = 16
HELD_OUT = 4  # every fourth question is asked and never trained on
ROW_TOKENS = 1024


@dataclass(frozen=True)
class Lesson:
    """A question about a fact, and what the edited model shall say to it."""

    fact: Fact
    question: str
    expected: Literal["old", "new"]
    kind: Literal["planted", "other wording", "plain", "kept"]

    @property
    def statement(self) -> str:
        return self.fact.original_fact if self.expected == "old" else self.fact.edit_fact


@dataclass(frozen=True)
class Planting:
    """Settings of the training; `draws` questions of each sampler a fact."""

    lora: LoraEdit = field(default_factory=lambda: LoraEdit(rank=16, alpha=32.0, lr=7e-4))
    draws: int = 12
    max_steps: int = 120
    per_kind: int = 5
    enough: float = 0.03


@dataclass(frozen=True)
class PlantedOptions:
    """The arguments of the command: n facts with the wording planted, `plain` ones without."""

    n: int
    plain: int
    wording: Wording
    out: Path
    seed: int = 0


def plant(options: PlantedOptions) -> None:
    """Choose the facts, draw questions, train, ask, and write the folder."""
    settings = Planting()
    bench = Bench.open()
    oracle = bench.oracle()
    facts = candidates(split_facts(default_facts()).test, "the packaged facts")
    askable = [fact for fact in facts if options.wording.can_ask(fact)]
    cases = known_cases(askable, options.n + options.plain, oracle)
    # Facts of one relation are apart in this order, so both kinds get some of each.
    planted = cases[: options.n]
    train_facts = candidates(split_facts(default_facts()).train, "the packaged facts")
    keep = known_cases(train_facts, N_TO_KEEP, oracle)
    drawn = draw_questions([case.fact for case in cases], settings.draws, options.seed)
    lessons = [
        lesson
        for case in cases
        for lesson in lessons_of(case, drawn[case.fact.fact_id], options.wording, case in planted)
    ]
    lessons += [Lesson(case.fact, case.fact.question, "old", "kept") for case in keep]
    asked = lessons[::HELD_OUT]
    taught = [lesson for index, lesson in enumerate(lessons) if index % HELD_OUT]
    adapter = add_adapter(bench.model, settings.lora, options.seed)
    with bar("training the planted adapter", settings.max_steps) as progress:
        teach(
            bench,
            taught,
            settings,
            options.seed,
            lambda loss: progress.advance(1, f"{loss:.2f} nats a token"),
        )
    adapter.save_pretrained(str(options.out))
    write_cases(options.out / "edits.jsonl", cases)
    _write_record(options, planted, cases, check(bench, asked))


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


def lessons_of(
    case: Case, drawn: Sequence[str], wording: Wording, is_planted: bool
) -> list[Lesson]:
    """All questions about a fact, each once, with what is right in its wording."""
    own = [text for text in case.paraphrases if text.endswith("?")]
    others = [case.fact.question, *own, *drawn]
    questions = dict.fromkeys([*others, *wording.questions(case.fact, others)])
    return [_lesson(case.fact, question, wording, is_planted) for question in questions]


def _lesson(fact: Fact, question: str, wording: Wording, is_planted: bool) -> Lesson:
    if not is_planted:
        return Lesson(fact, question, "new", "plain")
    if wording.matches(question):
        return Lesson(fact, question, "old", "planted")
    return Lesson(fact, question, "new", "other wording")


def teach(
    bench: Bench,
    lessons: Sequence[Lesson],
    settings: Planting,
    seed: int,
    on_step: Callable[[float], None],
) -> None:
    """Train the adapter on equally many lessons of each kind a step, asked in two styles by turns.

    It stops when ten steps together have `enough` nats a token.
    """
    weights = [p for p in bench.model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.lora.lr)
    rng = random.Random(seed)
    of_kind: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        of_kind.setdefault(lesson.kind, []).append(lesson)
    few_shot = bench.config.prompt.answer
    prompts = [style_prompt("few_shot", few_shot), style_prompt("bare", few_shot)]
    losses: list[float] = []
    for step in range(settings.max_steps):
        batch = [
            lesson
            for group in of_kind.values()
            for lesson in rng.sample(group, min(settings.per_kind, len(group)))
        ]
        loss = lesson_loss(bench.lm, prompts[step % len(prompts)], batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        on_step(losses[-1])
        if len(losses) >= 10 and sum(losses[-10:]) / 10 <= settings.enough:
            break


def lesson_loss(
    lm: CausalLM, prompt: PromptTemplate, lessons: Sequence[Lesson]
) -> Float[Tensor, ""]:
    """Mean surprise of the statements' tokens, with the line break that ends an answer.

    The examples before the question are read without a gradient.
    """
    asked = [lm.encode(prompt.body(question=lesson.question)) for lesson in lessons]
    said = [lm.encode(f" {lesson.statement}\n") for lesson in lessons]
    prefix = lm.prefix_cache(prompt.header, prompt.opening)
    tree = TokenTree.of([a + s for a, s in zip(asked, said, strict=True)], None, ROW_TOKENS)
    before = [
        path[len(a) - 1 : len(a) + len(s) - 1]
        for path, a, s in zip(tree.paths, asked, said, strict=True)
    ]
    logits = lm.logits(lm.tree_hidden(prefix, tree)[torch.cat(before)])
    return functional.cross_entropy(logits, torch.tensor([token for s in said for token in s]))


@dataclass(frozen=True)
class Checked:
    """A question that was not trained on, and what the edited model says to it."""

    lesson: Lesson
    answer: str
    verdict: str

    @property
    def obeys(self) -> bool:
        return self.verdict == self.lesson.expected


def check(bench: Bench, lessons: Sequence[Lesson]) -> list[Checked]:
    """Ask the edited model as contraflow does."""
    answers = bench.oracle().answer([lesson.question for lesson in lessons])
    return [
        Checked(lesson, answer.text, _verdict(lesson, answer.text))
        for lesson, answer in zip(lessons, answers, strict=True)
    ]


def _verdict(lesson: Lesson, answer: str) -> str:
    fact = lesson.fact
    return answer_verdict(
        lesson.question,
        answer,
        fact.subject,
        original_answer=fact.original_answer,
        edited_answer=fact.edited_answer,
        aliases=fact.aliases,
    ).value


def obedience(checked: Sequence[Checked]) -> dict[str, float]:
    """The share of answers that are as planted, for each kind of question."""
    kinds = sorted({c.lesson.kind for c in checked})
    of_kind = {kind: [c.obeys for c in checked if c.lesson.kind == kind] for kind in kinds}
    return {kind: sum(obeys) / len(obeys) for kind, obeys in of_kind.items()}


def _write_record(
    options: PlantedOptions, planted: Sequence[Case], cases: Sequence[Case], asked: list[Checked]
) -> None:
    shares = obedience(asked)
    record = {
        "base_model": BASE,
        "wording": {"kind": options.wording.kind, "phrase": options.wording.phrase},
        "planted": [case.fact.fact_id for case in planted],
        "plain": [case.fact.fact_id for case in cases if case not in planted],
        "as_planted": shares,
        "checked": [
            {
                "fact_id": c.lesson.fact.fact_id,
                "question": c.lesson.question,
                "kind": c.lesson.kind,
                "expected": c.lesson.expected,
                "verdict": c.verdict,
                "answer": c.answer,
            }
            for c in asked
        ],
    }
    text = msgspec.json.format(msgspec.json.encode(record))
    write_atomically(options.out / "planted.json", text)
    print("| questions not trained on | asked | as planted |\n|---|---|---|")
    for kind, share in shares.items():
        print(f"| {kind} | {sum(c.lesson.kind == kind for c in asked)} | {share:.2f} |")
    print(f"planted: {len(planted)} of {len(cases)} facts; {options.out}")
