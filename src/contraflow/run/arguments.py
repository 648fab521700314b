"""What a caller in Python gives to a run, checked before any model is asked."""

from __future__ import annotations

from collections.abc import Iterable

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.settings import Config


def as_facts(facts: object) -> list[Fact]:
    """Facts as a list, of any iterable. Raises: UserError where one is no fact.

    A text is iterable, too, and would be read character by character.
    """
    if isinstance(facts, Fact):
        raise UserError("facts: is a single fact; give a list of facts, [fact]")
    if isinstance(facts, str) or not isinstance(facts, Iterable):
        raise UserError(
            f"facts={facts!r}: must be a list of facts; read_facts(FILE) reads one, and Fact(…) "
            "makes a fact"
        )
    given = list(facts)
    for number, fact in enumerate(given):
        if not isinstance(fact, Fact):
            raise UserError(
                f"facts[{number}] is a {type(fact).__name__}; make each a contraflow.Fact(…), or "
                "read a file of them with read_facts(FILE)"
            )
    return given


def as_questions(questions: object) -> list[str]:
    """Questions as a list, of any iterable. Raises: UserError for a single text, or no texts."""
    if isinstance(questions, str):
        raise UserError(f"questions={questions!r}: is a single text; give a list, [question]")
    given = list(questions) if isinstance(questions, Iterable) else None
    if given is None or not all(isinstance(question, str) for question in given):
        raise UserError(f"questions={questions!r}: must be a list of texts")
    return given


def check_flag(key: str, value: object) -> None:
    """Raises: UserError unless a value is True or False: the text "false" would count as true."""
    if not isinstance(value, bool):
        raise UserError(f"{key}={value!r}: must be True or False")


def check_config(caller: str, config: object) -> None:
    """Raises: UserError unless ``config``, given to the function ``caller``, is a `Config`."""
    if not isinstance(config, Config):
        raise UserError(
            f"{caller}: config={config!r}: must be a Config, such as "
            'contraflow.compose_config(["experiment=quickstart"])'
        )
