"""Which facts a run trains, validates and tests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contraflow.errors import UserError, on_one_line
from contraflow.facts import Fact, read_facts, split_facts, write_facts
from contraflow.facts.check import cannot_be_written
from contraflow.run.known import known_to
from contraflow.seeding import python_rng
from contraflow.settings import Config
from contraflow.system.progress import bar, print_line, print_plain
from contraflow.text.alphabet import can_name
from contraflow.text.match import gives_away
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import Oracle

_BATCH_SIZE = 64


@dataclass(frozen=True)
class ChosenFacts:
    """The facts of a run, known to the oracle where the config asks for that."""

    train: list[Fact]
    validation: list[Fact]
    test: list[Fact]


def choose_facts(
    config: Config, folder: Path, facts: Sequence[Fact], oracle: Oracle
) -> ChosenFacts:
    """Split, shuffle, filter and cap the facts; saved in the folder and read back on resume.

    Raises: UserError when no fact is left for one of the three parts.
    """
    splits = split_facts(list(facts))
    data = config.data
    candidates: dict[str, tuple[Sequence[Fact], int | None]] = {
        "train": (splits.train, data.max_train_facts),
        "validation": (splits.validation, data.max_validation_facts),
        "test": ((*splits.test, *splits.test_relations), data.max_test_facts),
    }
    chosen: dict[str, list[Fact]] = {}
    for name, (candidates_of_part, cap) in candidates.items():
        chosen[name] = _choose(
            config, folder / f"{name}_facts.jsonl", name, candidates_of_part, cap, oracle
        )
    for name, part in chosen.items():
        _warn_of_unwritable(name, part, config.policy.vocabulary)
        if not part:
            raise UserError(
                f"no {name} facts are left of {len(facts)}; give more facts, or "
                "data.filter_known=false (the oracle may know none of them)"
            )
    return ChosenFacts(**chosen)


def _choose(
    config: Config, saved: Path, name: str, part: Sequence[Fact], cap: int | None, oracle: Oracle
) -> list[Fact]:
    if saved.is_file():  # a resumed run keeps the facts that it started with
        return read_facts(saved)
    facts = [fact for fact in part if not _is_in_a_header(config, fact)]
    python_rng(config.seed, "facts", name).shuffle(facts)
    chosen = _first_known(name, facts, cap, oracle) if config.data.filter_known else facts[:cap]
    if chosen:
        write_facts(saved, chosen)
    return chosen


def _warn_of_unwritable(name: str, facts: Sequence[Fact], vocabulary: str) -> None:
    """Print how many subjects the sampler's characters cannot name, and the first of them."""
    subjects = [fact.subject for fact in facts if not can_name(fact.subject, vocabulary)]
    if subjects:
        print_plain(
            f"warning: {name}: {len(subjects)} of {len(facts)} facts have a subject such as "
            f"{on_one_line(repr(subjects[0]))} that {cannot_be_written(vocabulary)}"
        )


def _is_in_a_header(config: Config, fact: Fact) -> bool:
    """Whether a few-shot header mentions the fact's subject: it would measure nothing learned."""
    headers = (task_prompt(config.prompt.task).header, answer_prompt(config.prompt.answer).header)
    return any(gives_away(header, fact.subject) for header in headers)


def _first_known(name: str, facts: list[Fact], cap: int | None, oracle: Oracle) -> list[Fact]:
    """Return the first ``cap`` facts that the oracle knows, without querying further."""
    known: list[Fact] = []
    n_queried = 0
    total = min(cap or len(facts), len(facts))
    with bar(f"{name} facts that the oracle knows", total) as progress:
        for start in range(0, len(facts), _BATCH_SIZE):
            batch = facts[start : start + _BATCH_SIZE]
            some = known_to(oracle, batch)
            n_queried += len(batch)
            progress.advance(min(len(some), total - len(known)) if cap else _BATCH_SIZE)
            known += some
            if cap is not None and len(known) >= cap:
                break
    used = known[:cap]
    print_line(
        f"{name}: the oracle knows {len(known)} of {n_queried} facts asked; using {len(used)}"
    )
    return used
