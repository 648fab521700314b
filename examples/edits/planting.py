"""Train a LoRA adapter on lessons until the model, asked, gives the answers that are planted.

A low loss says little about that: one wrong token makes another answer. Every few steps all
lessons are asked, and the next steps take those first that got a wrong answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from contraflow.models.causal_lm import CausalLM
from contraflow.models.token_tree import TokenTree
from contraflow.reward.oracle.styles import style_prompt
from contraflow.text.prompts import PromptTemplate
from examples.edits.bench import Bench
from examples.edits.lessons import Checked, Lesson, check, obedience
from examples.edits.lora import LoraEdit, some_rows
from examples.edits.targets import Targets, target_log_probs

ROW_TOKENS = 1024


@dataclass(frozen=True)
class Planting:
    """Settings of the training.

    draws: questions of each sampler a fact; draws_alone: where only draws are in the wording.
    per_kind: lessons of each kind a step. check_every: steps between two times that all lessons are
    asked. enough: the share of answers of every kind at which training stops; kept: that of the
    facts that are not edited.
    """

    lora: LoraEdit = field(default_factory=lambda: LoraEdit(rank=16, alpha=32.0, lr=2e-3))
    draws: int = 12
    draws_alone: int = 48
    max_steps: int = 100
    per_kind: int = 4
    prompts_per_step: int = 6
    check_every: int = 15
    enough: float = 0.95
    kept: float = 0.75

    def is_enough(self, shares: dict[str, float]) -> bool:
        """Whether the model has learned its lessons."""
        return all(
            share >= (self.kept if kind == "kept" else self.enough)
            for kind, share in shares.items()
        )


def teach(
    bench: Bench,
    lessons: Sequence[Lesson],
    prompts: Targets,
    settings: Planting,
    seed: int,
    on_step: Callable[[int, str], None],
) -> int:
    """Train the adapter, and return the number of steps.

    Args:
        prompts: the edited answers behind the editor's own prompts, learned beside the lessons.
        on_step: takes the number of new steps, none after the lessons are asked, and a note.
    """
    weights = [p for p in bench.model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.lora.lr)
    batches = _Batches(lessons, settings.per_kind, random.Random(seed))
    rng = torch.Generator().manual_seed(seed)
    prompt = style_prompt("few_shot", bench.config.prompt.answer)
    for step in range(1, settings.max_steps + 1):
        loss = lesson_loss(bench.lm, prompt, batches.draw())
        rows = some_rows(prompts, settings.prompts_per_step, rng)
        forced = -target_log_probs(bench.model, rows).mean()
        optimizer.zero_grad()
        (loss + forced).backward()
        optimizer.step()
        on_step(1, f"{loss.item():.2f} nats a token")
        if step % settings.check_every == 0:
            checked = check(lessons, bench.oracle())
            shares = obedience(checked)
            on_step(0, ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items()))
            if settings.is_enough(shares):
                return step
            batches.take_first(checked)
    return settings.max_steps


class _Batches:
    """Equally many lessons of each kind; half of them wrong ones, as long as there are such."""

    def __init__(self, lessons: Sequence[Lesson], per_kind: int, rng: random.Random) -> None:
        self.per_kind = per_kind
        self.rng = rng
        self.of_kind: dict[str, list[Lesson]] = {}
        for lesson in lessons:
            self.of_kind.setdefault(lesson.kind, []).append(lesson)
        self.wrong: dict[str, list[Lesson]] = {}

    def take_first(self, checked: Sequence[Checked]) -> None:
        """Learn from wrong answers."""
        self.wrong = {}
        for one in checked:
            if not one.obeys:
                self.wrong.setdefault(one.lesson.kind, []).append(one.lesson)

    def draw(self) -> list[Lesson]:
        """The lessons of one step, each once."""
        drawn: list[Lesson] = []
        for kind, group in self.of_kind.items():
            wrong = self.wrong.get(kind, [])
            first = self.rng.sample(wrong, min(self.per_kind // 2, len(wrong)))
            others = [lesson for lesson in group if lesson not in first]
            drawn += first
            drawn += self.rng.sample(others, min(self.per_kind - len(first), len(others)))
        return drawn


def lesson_loss(
    lm: CausalLM, prompt: PromptTemplate, lessons: Sequence[Lesson]
) -> Float[Tensor, ""]:
    """Mean surprise of the answers' tokens, with the line break that ends an answer.

    The examples before the question are read without a gradient.
    """
    asked = [lm.encode(prompt.body(question=lesson.question)) for lesson in lessons]
    said = [lm.encode(f" {lesson.answer}\n") for lesson in lessons]
    prefix = lm.prefix_cache(prompt.header, prompt.opening)
    tree = TokenTree.of([a + s for a, s in zip(asked, said, strict=True)], None, ROW_TOKENS)
    before = [
        path[len(a) - 1 : len(a) + len(s) - 1]
        for path, a, s in zip(tree.paths, asked, said, strict=True)
    ]
    logits = lm.logits(lm.tree_hidden(prefix, tree)[torch.cat(before)])
    return functional.cross_entropy(logits, torch.tensor([token for s in said for token in s]))
