"""`contraflow generate`: questions with answers and all their scores, one JSON object per line."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._keep import KEEP_BY, Keep
from contraflow.cli.commands._output import open_lines, out_file
from contraflow.cli.commands._run_target import (
    MAX_QUESTIONS,
    OVERRIDES,
    RUN,
    SAMPLING,
    open_target,
    run_config,
)
from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts
from contraflow.facts.fact import BadRowError, fact_from_row


def run(args: ParsedArguments) -> int:
    """Check all arguments, open the run, write and keep each line as soon as it is there."""
    facts = _facts(args)
    n = args.integer("n", 1, MAX_QUESTIONS)
    temperature = args.positive("temperature")
    seed = args.integer("seed", 0)
    distinct = args.boolean("distinct")
    keep = Keep.of(args, n, seed)
    out = out_file(args, "facts")
    config = run_config(args)

    import msgspec

    from contraflow.run.kept import kept_beside
    from contraflow.system.progress import bar

    count = 0
    with kept_beside(out) as kept:
        target = kept.of(open_target(args, config, facts))
        with open_lines(out) as lines, bar("questions", n * len(facts)) as progress:
            sampled = target.generate(
                facts,
                n,
                temperature=temperature,
                seed=seed,
                distinct=distinct,
                on_fact=lambda done: progress.advance(n * done),
            )
            for record in sampled if keep is None else keep(sampled):
                lines.write(msgspec.json.encode(record))
                count += 1
    if out is not None:
        print(f"wrote {count} questions about {len(facts)} facts to {out}")
    return 0


def _facts(args: ParsedArguments) -> Sequence[Fact]:
    """The facts of `facts=`, or the one given by `subject=` and `edit_fact=`. Raises: UserError."""
    path = args.path("facts")
    subject = args.text("subject")
    edit_fact = args.text("edit_fact")
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
    summary="sample questions about facts, with answers and rewards",
    description="""
    Samples n questions about each fact; the frozen model answers them and the judge compares answer
    and fact. Writes one JSON object per question: subject, edit_fact, question, answer,
    log_contradiction, log_entailment, log_p_question, log_p_answer, log_reward, log_pf, and the
    other fields of the fact (fact_id, relation, original_answer, edited_answer).

    distinct=true makes the n questions of a fact different, ignoring case, punctuation and a
    leading article: drawn without replacement, the first as any draw and each later one from what
    is left. log_inclusion is then the log-probability that the question is among the n (otherwise
    null): means over the n questions with weights exp(log_pf - log_inclusion) estimate means under
    the sampler. Of drawn spellings of one question one is written, with the weight of all of them.

    keep=K writes K different questions of each fact (fewer where there are fewer) instead of all n,
    whose answers are all paid for. keep_by=reward takes those with the highest log_reward: fewest
    failures, but no longer a sample in proportion to the reward. keep_by=proportion draws them in
    proportion to it, without repeats, by importance weights: nearer to the target than the sampler
    is.

    The lines of a batch (up to 64 questions, at least those of one fact) are kept as soon as they
    are scored. out=FILE gets its name when all lines are written; a run that stops leaves those so
    far in FILE.part and says so. In the folder FILE.kept each answer of a served model is kept as
    soon as it is there, up to 64 of a local model at a time. The same command goes on from there,
    writes all lines into another part and asks nothing twice; at the end FILE.kept is removed. With
    out=- nothing is kept.

    A question succeeds if log_contradiction is near 0: the answer contradicts the edit fact.
    """,
    examples=(
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=8 out=questions.jsonl",
        "contraflow generate run=runs/quickstart subject='the Eiffel Tower' "
        "edit_fact='The Eiffel Tower is in Rome.'",
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=32 keep=4 out=best.jsonl",
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=8 distinct=true",
        "contraflow generate run=runs/quickstart facts=my_facts.jsonl n=32 distinct=true keep=8 "
        "keep_by=proportion",
        "contraflow generate run=untrained facts=my_facts.jsonl prompt=subject_only",
    ),
    run=run,
    arguments=(
        RUN,
        Argument("facts", "FILE", "JSONL of facts: one object per line with subject and edit_fact"),
        Argument("subject", "TEXT", "instead of facts: the subject of one fact"),
        Argument("edit_fact", "TEXT", "instead of facts: the statement to contradict"),
        *SAMPLING,
        Argument(
            "distinct",
            "true|false",
            "n different questions per fact: no repeats, drawn without replacement",
            default="false",
            flag=True,
        ),
        Argument(
            "keep",
            "K",
            "of each fact's n questions, write K different ones",
        ),
        KEEP_BY,
        Argument("out", "FILE", "file for the JSON lines; - is standard output", default="-"),
    ),
    overrides=OVERRIDES,
)
