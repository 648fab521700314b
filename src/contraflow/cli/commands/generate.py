"""`contraflow generate`: questions with answers and every number of them, one JSON object a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.commands._asking import OVERRIDES, RUN, SAMPLING, open_given, settings_of
from contraflow.cli.commands._output import sink
from contraflow.cli.early import check_out_file
from contraflow.errors import UserError
from contraflow.evaluation.records import QuestionRecord
from contraflow.facts import Fact, read_facts
from contraflow.facts.fact import BadRowError, fact_from_row


def run(given: Given) -> int:
    """Check all arguments, open the run, write lines as they come."""
    facts = _facts(given)
    n, temperature = given.integer("n", 1), given.positive("temperature")
    seed = given.integer("seed", 0)
    keep = given.integer("keep", 1) if given.text("keep") else n
    if keep > n:
        raise UserError(f"keep={keep}: more than are drawn; give at most n={n}, or draw more")
    out = None if given.needed("out") == "-" else given.path("out")
    if out is not None:
        check_out_file("out", out)
    config = settings_of(given)

    import msgspec

    from contraflow.export.selection import best_of_each_fact
    from contraflow.system.progress import bar

    opened = open_given(given, config)
    count = 0
    with sink(out) as file, bar("questions", n * len(facts)) as progress:
        drawn = _told(
            opened.generate(facts, n, temperature=temperature, seed=seed), progress.advance
        )
        for record in best_of_each_fact(drawn, keep) if keep < n else drawn:
            file.write(msgspec.json.encode(record) + b"\n")
            count += 1
    if out is not None:
        print(f"wrote {count} questions about {len(facts)} facts to {out}")
    return 0


def _told(drawn: Iterator[QuestionRecord], advance: Callable[[], None]) -> Iterator[QuestionRecord]:
    for record in drawn:
        advance()
        yield record


def _facts(given: Given) -> Sequence[Fact]:
    """The facts of a file, or the one that is spelled out. Raises: UserError."""
    path, subject, edit_fact = given.path("facts"), given.text("subject"), given.text("edit_fact")
    if path is not None:
        if subject or edit_fact:
            raise UserError("give facts=FILE, or subject=… and edit_fact=…, not both")
        return read_facts(path)
    if not (subject and edit_fact):
        raise UserError(
            "generate needs facts=FILE, or both subject=… and edit_fact=…; for example: "
            'subject="the Eiffel Tower" edit_fact="The Eiffel Tower is in Rome."'
        )
    try:
        return [fact_from_row({"subject": subject, "edit_fact": edit_fact})]
    except BadRowError as error:
        raise UserError(str(error)) from None


COMMAND = Command(
    name="generate",
    summary="draw questions about facts, with answers and rewards",
    about="""
    Draws n questions about each fact, lets the frozen model answer them and the judge compare answer and
    fact. One JSON object a question: subject, edit_fact, question, answer, log_contradiction,
    log_entailment, log_p_question, log_p_answer, log_reward, log_pf, and what the fact says besides (fact_id, relation,
    original_answer, edited_answer).

    keep=K writes the K different questions of each fact with the highest log_reward instead of all n: fewer
    failures, but no longer a sample in proportion to the reward.

    A question that works has log_contradiction near 0: the model's answer contradicts the edit fact.
    """,
    examples=(
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=8 out=questions.jsonl",
        "contraflow generate run=runs/quickstart subject='the Eiffel Tower' "
        "edit_fact='The Eiffel Tower is in Rome.'",
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=32 keep=4 out=best.jsonl",
        "contraflow generate run=untrained facts=my_facts.jsonl prompt=subject_only",
    ),
    run=run,
    arguments=(
        RUN,
        Argument("facts", "FILE", "JSONL of facts: one object a line with subject and edit_fact"),
        Argument("subject", "TEXT", "instead of facts: the subject of one fact"),
        Argument("edit_fact", "TEXT", "instead of facts: the statement to contradict"),
        *SAMPLING,
        Argument(
            "keep",
            "K",
            "of each fact's n questions, write the K different ones with the highest log R",
        ),
        Argument("out", "FILE", "where the JSON lines go; - is standard output", default="-"),
    ),
    overrides=OVERRIDES,
)
