"""The three editors, from chosen cases to files; `__main__` is the command around them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contraflow.facts import default_facts, read_facts, split_facts
from contraflow.system.progress import bar
from contraflow.types import Forced
from examples.edits.bench import BASE, Bench
from examples.edits.cases import Case, candidates, known_cases
from examples.edits.covariance import own_text
from examples.edits.fine_tune import FineTuning, fine_tune, mlp_projection, projection_name
from examples.edits.lora import LoraEdit, lora_edit
from examples.edits.output import DELTA, Outcome, table, token_match, write_delta, write_outcomes
from examples.edits.rank_one import RankOne, Request, rank_one_edit
from examples.edits.targets import Targets, encode_targets

N_TO_KEEP = 24


@dataclass(frozen=True)
class Options:
    """The arguments of one command; `each` is for the rank-one editor."""

    n: int
    out: Path
    facts: str | None = None
    seed: int = 0
    each: bool = False


class Session:
    """A model on the bench, its cases, and the score before the edit."""

    def __init__(self, editor: str, bench: Bench, cases: Sequence[Case]) -> None:
        self.editor = editor
        self.bench = bench
        self.cases = list(cases)
        self.before = bench.scores(self.cases)
        self.started = time.monotonic()

    def finish(self, folder: Path) -> None:
        """Score and ask the edited model, write both, and print the table."""
        seconds = time.monotonic() - self.started
        outcomes = _outcomes(self.bench, self.cases, self.before)
        write_outcomes(folder, self.editor, BASE, outcomes, seconds)
        after = token_match([o.after for o in outcomes])
        print(table(outcomes))
        print(
            f"{self.editor}: {len(outcomes)} edits in {seconds:.0f} s, teacher-forced token match "
            f"{token_match(self.before):.2f} → {after:.2f}; {folder}"
        )


def _outcomes(bench: Bench, cases: Sequence[Case], before: Sequence[Forced]) -> list[Outcome]:
    answers = bench.oracle().answer([case.question for case in cases])
    parts = zip(cases, before, bench.scores(cases), answers, strict=True)
    return [Outcome(case, b, a, answer.text) for case, b, a, answer in parts]


def run_fine_tune(bench: Bench, cases: Sequence[Case], options: Options) -> None:
    """All edits at once in one matrix; writes a delta."""
    session = Session("fine_tune", bench, cases)
    settings = FineTuning()
    with bar("fine-tuning", settings.max_steps) as progress:
        fine_tune(bench.model, bench.targets(cases), settings, _shown(progress.advance))
    _write_projection(bench, settings.layer, options.out)
    session.finish(options.out)


def run_lora(bench: Bench, cases: Sequence[Case], options: Options) -> None:
    """All edits at once in an adapter that also keeps other facts; writes a PEFT folder."""
    oracle = bench.oracle()
    subjects = {case.fact.subject for case in cases}
    others = [f for f in split_facts(default_facts()).train if f.subject not in subjects]
    keep = known_cases(candidates(others, "the packaged facts"), N_TO_KEEP, oracle)
    kept = both_forms(bench, [(c, c.fact.original_answer, c.fact.original_fact) for c in keep])
    new = both_forms(bench, [(c, c.target, c.fact.edit_fact) for c in cases])
    session = Session("lora", bench, cases)
    settings = LoraEdit()
    with bar("training the adapter", settings.max_steps) as progress:
        adapter = lora_edit(
            bench.model,
            new,
            kept,
            settings,
            options.seed,
            _shown(progress.advance),
        )
    adapter.save_pretrained(str(options.out))
    session.finish(options.out)


def both_forms(bench: Bench, said: Sequence[tuple[Case, str, str]]) -> Targets:
    """Targets of (case, answer, statement): own prompt and answer, question and statement."""
    prompts = [case.prompt for case, _, _ in said]
    questions = [f"Question: {case.question}\nAnswer:" for case, _, _ in said]
    targets = [answer for _, answer, _ in said] + [statement for _, _, statement in said]
    return encode_targets(bench.tokenizer, prompts + questions, targets)


def run_rank_one(bench: Bench, cases: Sequence[Case], options: Options) -> None:
    """Edit after edit in one model, or with `each` one fact a model and folder; writes deltas."""
    weight = mlp_projection(bench.model, RankOne().layer).weight
    unedited = weight.data.clone()
    if not options.each:
        _edit_in_turn(bench, cases, options.out)
        return
    for number, case in enumerate(cases):
        _edit_in_turn(bench, [case], options.out / f"{number:02d}-{_slug(case.fact.subject)}")
        weight.data = unedited.clone()


def _edit_in_turn(bench: Bench, cases: Sequence[Case], folder: Path) -> None:
    settings = RankOne()
    text = own_text(bench.lm, settings.layer)
    contexts = text.contexts(settings.n_contexts)
    session = Session("rank_one", bench, cases)
    with bar("rank-one edits", len(cases)) as progress:
        for case in cases:
            request = Request(case.fact.subject, case.prompt, case.target)
            rank_one_edit(
                bench.model, bench.tokenizer, request, contexts, text.covariance, settings
            )
            progress.advance(note=case.fact.subject)
    _write_projection(bench, settings.layer, folder)
    session.finish(folder)


EDITORS: dict[str, Callable[[Bench, Sequence[Case], Options], None]] = {
    "fine_tune": run_fine_tune,
    "lora": run_lora,
    "rank_one": run_rank_one,
}


def edit(editor: str, options: Options) -> None:
    """Choose the cases, edit the packaged model, write the folder.

    Raises: UserError for a facts file without usable facts, or an n above what the model knows.
    """
    facts = split_facts(default_facts()).test
    if options.facts is not None:
        facts = tuple(read_facts(options.facts))
    chosen = candidates(facts, options.facts or "the packaged facts")
    bench = Bench.open()
    EDITORS[editor](bench, known_cases(chosen, options.n, bench.oracle()), options)


def _write_projection(bench: Bench, layer: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weight = mlp_projection(bench.model, layer).weight
    write_delta(folder / DELTA, {projection_name(layer): weight}, BASE)


def _shown(advance: Callable[[int, str], None]) -> Callable[[float], None]:
    return lambda loss: advance(1, f"{loss:.2f} nats a token")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
