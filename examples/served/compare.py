"""Compare the answers of a served model with those of the local one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from contraflow.facts.fact import default_facts
from contraflow.run.answerers import open_answerer
from contraflow.settings.compose import compose_config
from contraflow.types import Answer, Answerer


class Pair(NamedTuple):
    """A question and its two answers."""

    question: str
    served: Answer
    local: Answer


@dataclass(frozen=True)
class Comparison:
    """Questions with two answers, and (log P served, log P local) of targets behind prompts."""

    pairs: tuple[Pair, ...]
    targets: tuple[tuple[float, float], ...]

    @property
    def equal(self) -> list[Pair]:
        """The pairs with equal texts."""
        return [pair for pair in self.pairs if pair.served.text == pair.local.text]

    @property
    def log_p_gaps(self) -> list[float]:
        """|log P served − log P local| of equal answers, in nats."""
        return [abs(pair.served.log_p - pair.local.log_p) for pair in self.equal]

    @property
    def target_gaps(self) -> list[float]:
        """|log P served − log P local| of targets, in nats; empty without `echo`."""
        return [abs(served - local) for served, local in self.targets]


def questions_and_targets(n: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The plain questions of n packaged facts, and their right answers behind "Answer:"."""
    facts = [fact for fact in default_facts() if fact.question and fact.original_answer][:n]
    targets = [(f"Question: {f.question}\nAnswer:", f.original_answer) for f in facts]
    return [fact.question for fact in facts], targets


def open_both(source: str) -> tuple[Answerer, Answerer]:
    """The served model and the packaged one, asked with the same examples."""
    config = compose_config(["model.dtype=float32"])
    served = open_answerer(source, config=config)
    return served, open_answerer("packaged:smollm2-135m-instruct", config=config)


def compare(
    served: Answerer, local: Answerer, questions: Sequence[str], targets: Sequence[tuple[str, str]]
) -> Comparison:
    """Ask both models everything, in the style few_shot."""
    answers = zip(
        questions,
        served.oracle("few_shot").answer(questions),
        local.oracle("few_shot").answer(questions),
        strict=True,
    )
    prompts, words = [p for p, _ in targets], [t for _, t in targets]
    theirs, ours = served.forced(prompts, words), local.forced(prompts, words)
    read = () if theirs is None or ours is None else zip(theirs, ours, strict=True)
    return Comparison(
        tuple(Pair(*row) for row in answers), tuple((a.log_p, b.log_p) for a, b in read)
    )
