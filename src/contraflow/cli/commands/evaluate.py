"""`contraflow evaluate`: metrics of a run on given facts."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
from contraflow.facts import Fact, read_facts

if TYPE_CHECKING:
    from contraflow.evaluation.metrics import Metric, Metrics
    from contraflow.evaluation.records import QuestionRecord
    from contraflow.evaluation.target_report import TargetEstimate
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

    from contraflow.evaluation.target_report import write_target
    from contraflow.run.encoder import why_no_encoder
    from contraflow.run.kept import kept_beside
    from contraflow.system.progress import bar

    why_no_encoder()  # says what will be left out before the models load
    with kept_beside(out) as kept:
        target = kept.of(open_target(args, config, facts))
        asked = _Asked(facts, n, temperature, seed, distinct, keep)
        records = _measure(target, asked, out)
        if target_samples is not None:
            with bar("facts, questions of the prior", len(facts)) as progress:
                drawn = target.draw_for_target(
                    facts, target_samples, seed=seed, on_fact=progress.advance
                )
            table, estimate = _target_table(target, drawn, records, asked)
            beside = out.with_name(f"{out.stem}.target.json")
            write_target(beside, estimate)
            print(table)
            print(f"wrote {beside}", file=sys.stderr)
    print(f"wrote {out}", file=sys.stderr)
    return 0


@dataclass(frozen=True)
class _Asked:
    """What is measured."""

    facts: Sequence[Fact]
    n: int
    temperature: float
    seed: int
    distinct: bool
    keep: Keep | None


def _measure(target: Run, asked: _Asked, out: Path) -> Sequence[QuestionRecord]:
    """Sample and score, write and print the metrics; returns the measured questions."""
    from contraflow.evaluation.metrics import write_metrics
    from contraflow.system.progress import bar

    with bar("facts", len(asked.facts)) as progress:
        metrics, records = target.evaluate(
            asked.facts,
            asked.n,
            temperature=asked.temperature,
            seed=asked.seed,
            distinct=asked.distinct,
            keep=asked.keep,
            on_fact=progress.advance,
        )
    write_metrics(out, metrics)
    print("\n".join([_table(metrics), *_remarks(asked)]))
    return records


def _remarks(asked: _Asked) -> list[str]:
    """What a reader of the table must know of how it was sampled."""
    found = []
    if asked.keep is not None:
        found.append(
            f"  {asked.keep.count} of {asked.n} questions of a fact, by {asked.keep.by}: "
            "var_log_ratio, slope, pearson and\n  spearman are of the kept ones, and do not say "
            "how the sampler fits"
        )
    elif asked.distinct:
        found.append(
            f"  the {asked.n} questions of a fact are different: means over them, not over draws"
        )
    if asked.temperature != 1.0:
        found.append(
            f"  sampled at temperature {asked.temperature:g}: log P_F, and with it var_log_ratio, "
            "slope, pearson\n  and spearman, are those of the tempered sampler; training aims at "
            "temperature 1"
        )
    return found


def _target_table(
    target: Run,
    drawn: Sequence[QuestionRecord],
    records: Sequence[QuestionRecord],
    asked: _Asked,
) -> tuple[str, TargetEstimate]:
    """An exact sampler of the target, beside this one where both are of independent draws."""
    from contraflow.evaluation.target_report import target_lines

    samplers = {} if asked.distinct or asked.keep is not None else {"after": records}
    estimate = target.estimate_target(drawn, samplers, asked.n, seed=asked.seed)
    lines = target_lines(estimate, {"after": "this sampler"})
    if not samplers:
        lines.append(
            f"  an exact sampler's {asked.n} draws may repeat: the questions above, which do not, "
            "are not compared with it"
        )
    return "\n".join(lines), estimate


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

    In the folder FILE.kept, beside out=FILE, each answer of a served model is kept as soon as it is
    there, up to 64 of a local model at a time, and the scores of each batch (up to 64 questions, at
    least those of one fact) behind them. After a stop, a kill or a power failure the same command
    goes on from there and asks nothing twice; with other models or settings it uses only what is
    still right. At the end the folder is removed.

    keep=K measures what `generate keep=K keep_by=…` writes.

    distinct=true measures n different questions of each fact, as `generate distinct=true` writes
    them. target_samples=64 estimates from as many prior questions per fact what an exact sampler of
    the run's target would have on these facts, and shows both side by side where this one's
    questions are independent draws as well (not with distinct=true or keep=K).
    """,
    examples=(
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl out=metrics.json",
        "contraflow evaluate run=untrained facts=my_facts.jsonl out=before.json n=4",
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl distinct=true",
        "contraflow evaluate run=runs/quickstart facts=my_facts.jsonl target_samples=64",
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
