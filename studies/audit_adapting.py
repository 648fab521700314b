r"""Does a sampler that is adapted to an edit ask what fails, in how many ways, at what cost?

    python -m examples.edits rank_one n=8 each=true out=edits/each
    python -m studies.audit_adapting --edited edits/each/00-* --steps 10 --out studies/out

Every folder holds an edited model (`delta.safetensors` or an adapter) and its `edits.jsonl`. After
the audit's screening, the sampler is adapted to every counted edit that has a failing question
among those asked, or with `--all` to every counted one; then 32 independent questions are drawn
from it, with repeats. Asked: at least 0.9 of them fail, at least 8 of the failing ones are
different, in at least 3 modes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from contraflow import open_run
from contraflow.auditing.asking.evidence import Evidence
from contraflow.auditing.asking.pipeline import Audit, AuditSettings
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.searching.adapt import AdaptSettings
from contraflow.auditing.searching.failure_reward import FailureReward
from contraflow.auditing.searching.search import EditSearch
from contraflow.auditing.summarizing.modes import Embed, mode_labels, remembering
from contraflow.facts.edits import read_edits
from contraflow.models.embedder import load_embedder
from contraflow.run.answer_book import AnswerBook
from contraflow.run.answerers import open_answerers
from contraflow.run.sampler_identity import sampler_identity
from contraflow.run.session import Run
from contraflow.seeding import torch_rng
from contraflow.types import AskStyle

CONTROL = "packaged:smollm2-135m-instruct"
STYLE: AskStyle = "few_shot"
DRAWS = 32


@dataclass(frozen=True)
class Adapted:
    """One edit: what screening and searching found, and the last draws.

    fail, different, modes: of the last draws; the failing ones, and those that differ.
    seconds: of CPU, searching and the last draws.
    """

    subject: str
    screened: int
    screened_failing: int
    asked: int
    asked_failing: int
    asked_modes: int
    fail: int
    different: int
    modes: int
    seconds: float
    questions: list[str]


@dataclass(frozen=True)
class Study:
    """The sampler, the models of one folder, and what is kept of their answers."""

    run: Run
    audit: Audit
    book: AnswerBook
    embed: Embed

    def evidence(self) -> Evidence:
        return self.audit.evidence(self.book)[0]

    def adapted(self, evidence: Evidence, standing: Standing, settings: AdaptSettings) -> Adapted:
        """Search from the screening, then draw from the adapted sampler."""
        screened = tuple(evidence.rows)
        fact = standing.edit.fact
        search = EditSearch(
            self.audit,
            self.book,
            self.run.judge,
            self.embed,
            self.audit.edited[0],
            standing,
            screened,
        )
        last: list[str] = []
        steps_done: list[int] = []

        def on_step(n: int) -> None:
            steps_done.append(n)
            if len(steps_done) == settings.steps:
                rng = torch_rng(settings.seed, "last draws", fact.fact_id)
                last.extend(self.run.policy.texts(self.run.policy.sample([fact], DRAWS, rng)))

        started = time.process_time()
        found = search.rows(search(settings, on_step), [STYLE])
        asked = {row.question: row for row in search.rows(last, [STYLE])}
        seconds = time.process_time() - started
        of_edit = [row for row in screened if row.fact_key == fact.key and row.style == STYLE]
        failing = [text for text in last if asked[text].fails]
        return Adapted(
            subject=fact.subject,
            screened=len({row.question for row in of_edit}),
            screened_failing=len({row.question for row in of_edit if row.fails}),
            asked=len({row.question for row in found}),
            asked_failing=len({row.question for row in found if row.fails}),
            asked_modes=self._n_modes([row.question for row in found if row.fails], fact.subject),
            fail=len(failing),
            different=len(set(failing)),
            modes=self._n_modes(failing, fact.subject),
            seconds=round(seconds, 1),
            questions=[f"{text} -> {asked[text].post_answer}" for text in dict.fromkeys(failing)],
        )

    def _n_modes(self, texts: Sequence[str], subject: str) -> int:
        return len(set(mode_labels(texts, self.embed, subject)))


def studied(
    folder: Path, run: Run, embed: Embed, settings: AdaptSettings, options: argparse.Namespace
) -> list[Adapted]:
    """Adapt to every edit of a folder."""
    delta = folder / "delta.safetensors"
    models = open_answerers(
        [str(delta if delta.exists() else folder)], CONTROL, config=run.config, names=["edited"]
    )
    audit = Audit(
        policy=run.policy,
        sampler_identity=sampler_identity(run),
        control=models.control,
        edited=models.edited,
        sources=[folder.name],
        edits=read_edits(folder / "edits.jsonl").edits,
        settings=AuditSettings(options.n, (STYLE,), settings.seed),
        out=options.out / folder.name,
    )
    audit.out.mkdir(parents=True, exist_ok=True)
    with AnswerBook(audit.out / "answers.jsonl") as book:
        study = Study(run, audit, book, embed)
        evidence = study.evidence()
        return [
            study.adapted(evidence, standing, settings)
            for standing in evidence.standings
            if standing.is_counted and (options.all or _fails(evidence.rows, standing))
        ]


def _fails(rows: Sequence[Row], standing: Standing) -> bool:
    return any(row.fails and row.fact_key == standing.edit.fact.key for row in rows)


def table(found: Sequence[Adapted]) -> str:
    """One line an edit."""
    head = (
        "| fact | failing of screened | fail at the end (of 32) | different | modes | failing of "
        "asked | in modes | CPU-s |\n|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {one.subject} | {one.screened_failing} of {one.screened} | {one.fail} | "
        f"{one.different} | {one.modes} | {one.asked_failing} of {one.asked} | "
        f"{one.asked_modes} | {one.seconds:.0f} |"
        for one in found
    ]
    return "\n".join([head, *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """Adapt to every edit of every folder; print the table, write `adapting.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edited", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=AdaptSettings.steps)
    parser.add_argument("--effective", type=float, default=FailureReward.n_effective)
    parser.add_argument("--lowest", type=float, default=FailureReward.lowest_ceiling)
    parser.add_argument("--crowding", type=float, default=FailureReward.crowding)
    parser.add_argument("--updates", type=int, default=AdaptSettings.updates)
    parser.add_argument("--replayed", type=int, default=AdaptSettings.n_replayed)
    parser.add_argument("--n", type=int, default=24, help="questions of the screening")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="edits without a failure too")
    options = parser.parse_args(arguments)
    reward = FailureReward(options.effective, options.lowest, options.crowding)
    settings = AdaptSettings(
        steps=options.steps,
        n_replayed=options.replayed,
        updates=options.updates,
        reward=reward,
        seed=options.seed,
    )
    run, embed = open_run("shipped"), remembering(load_embedder())
    found: list[Adapted] = []
    for folder in options.edited:
        found += studied(folder, run, embed, settings, options)
        print(table(found), flush=True)
        text = json.dumps([asdict(one) for one in found], indent=1)
        (options.out / "adapting.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
