"""Writes the packaged oracle's answers to the plain questions of the packaged facts, an asset.

    python -m studies.plain_answers

Seven minutes on one core. Needed after a change of the shipped facts, of the answer prompt or of
the packaged model; until then runs ask those questions themselves, and keep the answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from contraflow import compose_config, default_facts, open_run
from contraflow.facts import Fact
from contraflow.facts.known import plain_question
from contraflow.facts.plain_answers import SHIPPED, write_shipped
from contraflow.types import Oracle

BATCH = 64


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    oracle = open_run("untrained", compose_config()).oracle
    n = write_shipped(oracle.identity, answers_of(oracle, default_facts()))
    print(f"{n} answers of {oracle.identity} in {SHIPPED}")


def answers_of(oracle: Oracle, facts: Iterable[Fact]) -> Iterator[tuple[str, str]]:
    """The plain question of each fact that has one, once, with the oracle's answer."""
    asked = [plain_question(fact) for fact in facts if fact.original_answer]
    questions = list(dict.fromkeys(question for question in asked if question))
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        for question, answer in zip(batch, oracle.answer(batch), strict=True):
            yield question, answer.text


if __name__ == "__main__":
    main()
