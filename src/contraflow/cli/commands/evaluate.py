"""`contraflow evaluate`: metrics of a run on given facts."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.commands._asking import OVERRIDES, RUN, SAMPLING, open_given, settings_of
from contraflow.cli.early import check_out_file
from contraflow.facts import read_facts

if TYPE_CHECKING:
    from contraflow.evaluation.metrics import Metric, Metrics


def run(given: Given) -> int:
    """Check all arguments, open the run, measure, write and print."""
    facts = read_facts(given.needed("facts"))
    n, temperature = given.integer("n", 1), given.positive("temperature")
    seed, out = given.integer("seed", 0), given.path("out")
    assert out is not None
    check_out_file("out", out)
    config = settings_of(given)

    from contraflow.evaluation.metrics import write_metrics
    from contraflow.system.progress import bar

    opened = open_given(given, config)
    with bar("facts", len(facts)) as progress:
        metrics, _ = opened.evaluate(
            facts, n, temperature=temperature, seed=seed, on_fact=progress.advance
        )
    write_metrics(out, metrics)
    print(_table(metrics))
    print(f"wrote {out}", file=sys.stderr)
    return 0


def _table(metrics: Metrics) -> str:
    head = (
        f"{metrics.n_questions} questions about {metrics.n_facts} facts; 95 % intervals over facts"
    )
    width = max(len(row.name) for row in metrics.rows)
    return "\n".join([head, *(f"  {row.name:<{width}}  {_numbers(row)}" for row in metrics.rows)])


def _numbers(row: Metric) -> str:
    if math.isnan(row.value):
        return f"{'n/a':>9}  not defined for these questions"
    return f"{row.value:9.3f}  [{row.low:8.3f}, {row.high:8.3f}]"


COMMAND = Command(
    name="evaluate",
    summary="measure a run on facts: valid contradictions, diversity, balance",
    about="""
    Draws n questions about each fact and writes every metric with its 95 % interval as JSON: strict
    success (the answer names the original answer and not the edited one; no judge involved), valid
    contradictions and their parts, rewards, diversity among valid questions, and how far log P_F is from
    log R.

    Strict success and leaks need original_answer and edited_answer in the facts. Facts that the oracle
    does not know bring every sampler down: `contraflow data filter-known` leaves them out.
    """,
    examples=(
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl out=metrics.json",
        "contraflow evaluate run=untrained facts=my_facts.jsonl out=before.json n=4",
    ),
    run=run,
    arguments=(
        RUN,
        Argument("facts", "FILE", "JSONL of facts to ask about", required=True),
        *SAMPLING,
        Argument("out", "FILE", "where the metrics go, as JSON", default="metrics.json"),
    ),
    overrides=OVERRIDES,
)
