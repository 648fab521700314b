"""Facts of relations that training never saw, and whether training learned to game the judge.

    python -m studies.fit.cold RUN [RUN ...] --out cold.json
    python -m studies.fit.cold RUN [RUN ...] --untrained

It reads the folders of finished runs. With `--untrained` it first measures the untrained sampler
where a run was trained without that (`evaluation.untrained=false`), which loads the models.

A test fact is cold if no training fact of its run has its relation. Runs are pooled. Intervals
(95 %) resample facts; a fact of several runs is one cluster. Runs are not resampled: three are too
few. A change has an interval of its own, from the same resampled facts on both sides; so it is
paired where the facts are the same. Training draws are about training facts, another set at each
step. Validation keeps means, not questions, and is not in the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contraflow import open_run
from contraflow.errors import UserError
from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.metrics import write_metrics
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.evaluation.stages import STAGES
from contraflow.facts import read_facts
from contraflow.run.session import read_run_config
from contraflow.system.files import whole_lines, write_atomically
from studies.fit.judged import Measure, Sums, cause_of, causes, judged, success
from studies.fit.pooling import Estimate, change, estimate, pooled

EVALUATED = {stage: STAGES[stage].title for stage in ("before", "after", "different")}
UNTRAINED, TRAINED, DIFFERENT = EVALUATED.values()
N_THIRDS = 3
THIRDS = tuple(f"training draws, third {i + 1} of {N_THIRDS}" for i in range(N_THIRDS))
GROUPS = {"seen": False, "cold": True}


Table = dict[str, dict[str, Estimate]]  # row -> column -> estimate


class Shown(msgspec.Struct, frozen=True):
    """A question that the judge passes and the strict test does not."""

    run: str
    stage: str
    cause: str
    edit_fact: str
    original_answer: str
    question: str
    answer: str


class Findings(msgspec.Struct, frozen=True):
    """Everything that the command prints."""

    stages: dict[str, list[str]]  # the runs that have each
    cold_facts: dict[str, dict[str, int]]  # of each run, by relation
    success: Table
    judge: Table
    by_run: Table  # the change of `judge` from untrained to trained
    causes: Table
    shown: list[Shown]


@dataclass
class RunQuestions:
    """The questions of a finished run by stage; facts without an original answer are left out."""

    name: str
    relations: frozenset[str]  # of its training facts
    stages: dict[str, list[QuestionRecord]] = field(default_factory=dict)

    def of_group(self, stage: str, group: str) -> list[QuestionRecord]:
        """Questions about cold facts, or about the others; one without a relation is in neither."""
        named = [record for record in self.stages.get(stage, []) if record.relation]
        return [r for r in named if (r.relation not in self.relations) == GROUPS[group]]


def read_run(folder: Path) -> RunQuestions:
    """Raises: UserError when the folder is not that of a finished run with an evaluation."""
    n_steps = read_run_config(folder).trainer.n_steps
    if not (folder / "finished").is_file():
        raise UserError(f"{folder}: is not finished; start `contraflow train` again, it goes on")
    relations = {fact.relation for fact in read_facts(folder / "train_facts.jsonl")}
    stages = _training_draws(folder / "probes.jsonl", n_steps)
    for stage, title in EVALUATED.items():
        path = folder / "evaluation" / f"{stage}_questions.jsonl"
        if stage == "after" or path.is_file():
            stages[title] = read_records(path)
    known = {stage: [r for r in records if r.original_answer] for stage, records in stages.items()}
    return RunQuestions(str(folder), frozenset(relations), known)


def _training_draws(path: Path, n_steps: int) -> dict[str, list[QuestionRecord]]:
    """The probes of each third of the steps."""
    thirds: dict[str, list[QuestionRecord]] = {}
    if path.is_file():
        for row, record in zip(whole_lines(path), read_records(path), strict=True):
            thirds.setdefault(THIRDS[N_THIRDS * row["step"] // n_steps], []).append(record)
    return thirds


def measure_untrained(folder: Path, device: str) -> None:
    """Write `evaluation/before*` where a run was trained without it, with the run's settings."""
    path = folder / "evaluation" / "before.json"
    if path.is_file():
        return
    config = read_run_config(folder)
    config.model.device = device
    metrics, records = open_run("untrained", config).evaluate(
        read_facts(folder / "test_facts.jsonl"),
        config.evaluation.n_samples,
        temperature=config.evaluation.temperature,
        seed=config.seed,
    )
    write_records(path.with_name("before_questions.jsonl"), records)
    write_metrics(path, metrics)


def _estimates(measured: dict[str, Sums]) -> dict[str, Estimate]:
    return {name: estimate(sums) for name, sums in measured.items()}


def _changes(first: dict[str, Sums], second: dict[str, Sums]) -> dict[str, Estimate]:
    return {name: change(first[name], second[name]) for name in first if name in second}


def success_table(runs: Sequence[RunQuestions]) -> Table:
    """Success on seen and on cold relations, before and after training."""
    table: Table = {}

    def measure(stage: str, group: str, of: Sequence[RunQuestions] = runs) -> dict[str, Sums]:
        return pooled([run.of_group(stage, group) for run in of], success)

    for stage in EVALUATED.values():
        seen, cold = (measure(stage, group) for group in GROUPS)
        table[f"{stage}, seen relations"] = _estimates(seen)
        table[f"{stage}, cold"] = _estimates(cold)
        table[f"{stage}, cold - seen"] = _changes(seen, cold)
    with_both = [run for run in runs if UNTRAINED in run.stages]
    for group in GROUPS:
        ends = [measure(stage, group, with_both) for stage in (UNTRAINED, TRAINED)]
        table[f"{TRAINED} - {UNTRAINED}, {group}"] = _changes(ends[0], ends[1])
    return {row: cells for row, cells in table.items() if cells}


def stage_table(runs: Sequence[RunQuestions], measure: Measure) -> Table:
    """A measure on all facts of every stage, and its change over training."""

    def at(stage: str, of: Sequence[RunQuestions] = runs) -> dict[str, Sums]:
        return pooled([run.stages.get(stage, []) for run in of], measure)

    stages = (UNTRAINED, *THIRDS, TRAINED, DIFFERENT)
    table = {stage: _estimates(at(stage)) for stage in stages}
    for first, last in ((UNTRAINED, TRAINED), (THIRDS[0], THIRDS[-1])):
        with_both = [run for run in runs if first in run.stages and last in run.stages]
        table[f"{last} - {first}"] = _changes(at(first, with_both), at(last, with_both))
    return {row: cells for row, cells in table.items() if cells}


def shown(runs: Sequence[RunQuestions]) -> list[Shown]:
    """Each question that has a cause, untrained and trained; one of repeats."""
    found = [
        Shown(run.name, stage, cause, r.edit_fact, r.original_answer, r.question, r.answer)
        for run in runs
        for stage in (UNTRAINED, TRAINED)
        for r in run.stages.get(stage, [])
        if (cause := cause_of(r)) is not None
    ]
    return list(dict.fromkeys(found))


def findings(runs: Sequence[RunQuestions]) -> Findings:
    """All tables of these runs."""
    names = (UNTRAINED, *THIRDS, TRAINED, DIFFERENT)
    rise = f"{TRAINED} - {UNTRAINED}"
    alone = {run.name: stage_table([run], judged).get(rise, {}) for run in runs}
    return Findings(
        stages={stage: [run.name for run in runs if stage in run.stages] for stage in names},
        cold_facts={run.name: _cold_facts(run) for run in runs},
        success=success_table(runs),
        judge=stage_table(runs, judged),
        by_run={f"{rise}, {name}": cells for name, cells in alone.items() if cells},
        causes=stage_table(runs, causes),
        shown=shown(runs),
    )


def _cold_facts(run: RunQuestions) -> dict[str, int]:
    facts = by_fact(run.of_group(TRAINED, "cold")).values()
    return dict(Counter(group[0].relation for group in facts))


def markdown(table: Table) -> str:
    """The table's columns as lines, its rows side by side, with what the first figure is of."""
    lines = list(dict.fromkeys(name for cells in table.values() for name in cells))
    heads = []
    for row, cells in table.items():
        first = next(iter(cells.values()))
        heads.append(f"{row} ({first.n_facts} facts, {first.n} questions)")
    text = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for line in lines:
        figures = [str(cells[line]) if line in cells else "" for cells in table.values()]
        text.append(f"| {line} | " + " | ".join(figures) + " |")
    return "\n".join(text)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, help="write the tables and the questions as JSON")
    what = "first measure the untrained sampler where a run did not"
    parser.add_argument("--untrained", action="store_true", help=what)
    parser.add_argument("--device", default="auto", help="of --untrained")
    try:
        _report(parser.parse_args(words))
    except UserError as error:
        print(f"studies.fit.cold: error: {error}", file=sys.stderr)
        return 2
    return 0


def _report(args: argparse.Namespace) -> None:
    folders = [folder.resolve() for folder in args.folders]
    twice = [str(folder) for folder in args.folders if folders.count(folder.resolve()) > 1]
    if twice:
        raise UserError(f"{twice[0]}: is given twice; name each run once")
    runs = [read_run(folder) for folder in args.folders]  # first, so that none fails after models
    if args.untrained:
        for folder in args.folders:
            measure_untrained(folder, args.device)
        runs = [read_run(folder) for folder in args.folders]
    found = findings(runs)
    for stage, names in found.stages.items():
        print(f"{stage}: {', '.join(names) or 'no run'}")
    for name, relations in found.cold_facts.items():
        print(f"cold facts of {name}: {', '.join(f'{n} {r}' for r, n in relations.items())}")
    for title in ("success", "judge", "by_run", "causes"):
        if table := getattr(found, title):
            print(f"\n{title}\n\n{markdown(table)}")
    if args.out is not None:
        content = msgspec.json.format(msgspec.json.encode(found), indent=1)
        write_atomically(args.out, content + b"\n")


if __name__ == "__main__":
    sys.exit(main())
