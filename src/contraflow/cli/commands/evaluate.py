"""`contraflow evaluate`: metrics of a run on given facts."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._run_target import (
    OVERRIDES,
    RUN,
    SAMPLING,
    open_target,
    run_config,
)
from contraflow.cli.preflight import check_out_file
from contraflow.facts import read_facts

if TYPE_CHECKING:
    from contraflow.evaluation.metrics import Metric, Metrics


def run(args: ParsedArguments) -> int:
    """Check all arguments, open the run, compute the metrics, write and print them."""
    facts = read_facts(args.required("facts"))
    n = args.integer("n", 1)
    temperature = args.positive("temperature")
    seed = args.integer("seed", 0)
    out = args.required_path("out")
    check_out_file("out", out)
    config = run_config(args)

    from contraflow.evaluation.metrics import write_metrics
    from contraflow.run.build import why_no_encoder
    from contraflow.system.progress import bar

    why_no_encoder()  # says what will be left out before the models load
    target = open_target(args, config)
    with bar("facts", len(facts)) as progress:
        metrics, _ = target.evaluate(
            facts, n, temperature=temperature, seed=seed, on_fact=progress.advance
        )
    write_metrics(out, metrics)
    print(_table(metrics))
    if temperature != 1.0:
        print(
            f"  sampled at temperature {temperature:g}: log P_F, and with it var_log_ratio, slope, "
            "pearson\n  and spearman, are those of the tempered sampler; training aims at "
            "temperature 1"
        )
    print(f"wrote {out}", file=sys.stderr)
    return 0


def _table(metrics: Metrics) -> str:
    head = (
        f"{metrics.n_questions} questions about {metrics.n_facts} facts; 95 % intervals over facts"
    )
    width = max(len(metric.name) for metric in metrics.rows)
    rows = [f"  {metric.name:<{width}}  {_numbers(metric)}" for metric in metrics.rows]
    return "\n".join([head, *rows])


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
    """,
    examples=(
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl out=metrics.json",
        "contraflow evaluate run=untrained facts=my_facts.jsonl out=before.json n=4",
    ),
    run=run,
    arguments=(
        RUN,
        Argument("facts", "FILE", "JSONL of facts to sample questions about", required=True),
        *SAMPLING,
        Argument("out", "FILE", "file for the metrics, as JSON", default="metrics.json"),
    ),
    overrides=OVERRIDES,
)
