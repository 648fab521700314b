"""`contraflow evaluate`: metrics of a run on given facts."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._keep import KEEP_BY, Keep
from contraflow.cli.commands._run_target import (
    MAX_QUESTIONS,
    OVERRIDES,
    RUN,
    SAMPLING,
    open_target,
    run_config,
)
from contraflow.cli.outputs import check_output
from contraflow.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contraflow.evaluation.metrics import Metric, Metrics
    from contraflow.evaluation.records import QuestionRecord
    from contraflow.run.session import Run


def run(args: ParsedArguments) -> int:
    """Check all arguments, open the run, compute the metrics, write and print them."""
    facts = read_facts(args.required("facts"))
    n = args.integer("n", 1, MAX_QUESTIONS)
    temperature = args.positive("temperature")
    seed = args.integer("seed", 0)
    distinct = args.boolean("distinct")
    keep = Keep.of(args, n, seed)
    target_samples = args.optional_integer("target_samples", 2, MAX_QUESTIONS)
    out = args.required_path("out")
    check_output(args, out, "facts")
    config = run_config(args)

    from contraflow.evaluation.metrics import write_metrics
    from contraflow.run.encoder import why_no_encoder
    from contraflow.system.progress import bar

    why_no_encoder()  # says what will be left out before the models load
    target = open_target(args, config)
    with bar("facts", len(facts)) as progress:
        metrics, records = target.evaluate(
            facts,
            n,
            temperature=temperature,
            seed=seed,
            distinct=distinct,
            keep=keep,
            on_fact=progress.advance,
        )
    write_metrics(out, metrics)
    print(_table(metrics))
    if keep is not None:
        print(
            f"  {keep.count} of {n} questions of a fact, by {keep.by}: var_log_ratio, slope, "
            "pearson and\n  spearman are of the kept ones, and do not say how the sampler fits"
        )
    elif distinct:
        print(f"  the {n} questions of a fact are different: means over them, not over draws")
    if temperature != 1.0:
        print(
            f"  sampled at temperature {temperature:g}: log P_F, and with it var_log_ratio, slope, "
            "pearson\n  and spearman, are those of the tempered sampler; training aims at "
            "temperature 1"
        )
    if target_samples is not None:
        with bar("facts, questions of the prior", len(facts)) as progress:
            drawn = target.draw_for_target(
                facts, target_samples, seed=seed, on_fact=progress.advance
            )
        print(_target_table(target, drawn, records, n, seed))
    print(f"wrote {out}", file=sys.stderr)
    return 0


def _target_table(
    target: Run,
    drawn: Sequence[QuestionRecord],
    records: Sequence[QuestionRecord],
    n: int,
    seed: int,
) -> str:
    """An exact sampler of the target beside this one."""
    from contraflow.evaluation.target_report import target_lines

    estimate = target.estimate_target(drawn, {"after": records}, n, seed=seed)
    return "\n".join(target_lines(estimate, {"after": "this sampler"}))


def _table(metrics: Metrics) -> str:
    head = (
        f"{metrics.n_questions} questions about {metrics.n_facts} facts; 95 % intervals over facts"
    )
    width = max(len(metric.name) for metric in metrics.rows)
    rows = [f"  {metric.name:<{width}}  {_numbers(metric)}" for metric in metrics.rows]
    return "\n".join([head, *rows, *_left_out(metrics)])


def _left_out(metrics: Metrics) -> list[str]:
    """A line where facts without an original answer leave questions out of strict success."""
    strict = next((metric for metric in metrics.rows if metric.name == "strict_success"), None)
    if strict is None or strict.n in (0, metrics.n_questions):
        return []
    return [
        f"  strict_success is of {strict.n} questions: the facts of the other "
        f"{metrics.n_questions - strict.n} have no original_answer"
    ]


def _numbers(metric: Metric) -> str:
    if math.isnan(metric.value):
        return f"{'n/a':>9}  {metric.note or 'not defined for these questions'}"
    if math.isnan(metric.low):
        return f"{metric.value:9.3f}  {metric.note or 'no interval'}"
    return f"{metric.value:9.3f}  [{metric.low:8.3f}, {metric.high:8.3f}]"


COMMAND = Command(
    name="evaluate",
    summary="measure a run on facts: valid contradictions, diversity, balance",
    description="""
    Samples n questions about each fact and writes every metric with its 95 % interval as JSON:
    strict success (a sound question got the original answer, not the edited one; no judge is
    involved), valid contradictions and their parts, rewards, diversity among valid questions, and
    the distance between log P_F and log R.

    Strict success and leaks need original_answer and edited_answer in the facts. Facts that the
    oracle does not know lower the metrics of every sampler: `contraflow data filter-known` removes
    them.

    keep=K measures what `generate keep=K keep_by=…` writes.

    distinct=true measures n different questions of each fact, as `generate distinct=true` writes
    them. target_samples=64 estimates from as many prior questions per fact what an exact sampler of
    the run's target would have on these facts.
    """,
    examples=(
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl out=metrics.json",
        "contraflow evaluate run=untrained facts=my_facts.jsonl out=before.json n=4",
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl distinct=true "
        "target_samples=64",
    ),
    run=run,
    arguments=(
        RUN,
        Argument("facts", "FILE", "JSONL of facts to sample questions about", required=True),
        *SAMPLING,
        Argument(
            "distinct",
            "true|false",
            "n different questions per fact, drawn without replacement",
            default="false",
            flag=True,
        ),
        Argument("keep", "K", "measure K different questions of each fact's n"),
        KEEP_BY,
        Argument(
            "target_samples",
            "N",
            "prior questions per fact from which an exact sampler of the target is estimated; by "
            "default it is not",
        ),
        Argument("out", "FILE", "file for the metrics, as JSON", default="metrics.json"),
    ),
    overrides=OVERRIDES,
)
