"""From edits and models to evidence: prompts, gates, draws, answers, verdicts.

Everything that costs is kept in the audit's folder as it comes (`draws.jsonl`, `answers.jsonl`), so
an audit that was stopped goes on where it stood, and a changed setting asks only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from contraflow.auditing.asking.ask import Answers, Asked, Inquiry, ask, n_missing, rows_of
from contraflow.auditing.asking.cost import NOTHING, ToCome, duration, tell_cost
from contraflow.auditing.asking.evidence import Evidence, asked_prompts, model_info
from contraflow.auditing.asking.gates import check_answers_differ, check_identities, check_knowledge
from contraflow.auditing.asking.probes import (
    AskedProbe,
    as_locality,
    asked_probes,
    count_degenerate,
    probe_rates,
    unaffected,
)
from contraflow.auditing.asking.questions import (
    AuditQuestion,
    DrawBook,
    EditDraws,
    Sampling,
    given_questions,
    own_questions,
)
from contraflow.auditing.asking.standing import Standing, standing_of
from contraflow.auditing.outcome.finished import DRAWS
from contraflow.auditing.outcome.result import Gate
from contraflow.facts import Fact
from contraflow.facts.edit import Edit, Probe
from contraflow.facts.neighbors import with_neighbors
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.oracle.served.oracle import ServedAnswerer
from contraflow.run.answer_book import AnswerBook
from contraflow.system.progress import bar, print_plain
from contraflow.types import Answer, Answerer, AskStyle


@dataclass(frozen=True)
class AuditSettings:
    """What is asked.

    n: different questions per edit; half are drawn with the adapter off, half with it on.
    styles: how questions are put; the headline is of the first one.
    n_neighbors: locality questions per edit about other facts of the same relation.
    own: a person's own questions by fact key, instead of draws.
    n_adapting: questions that adapting asks about an edit, at most; 0 without it.
    """

    n: int = 32
    styles: tuple[AskStyle, ...] = ("few_shot",)
    seed: int = 0
    n_neighbors: int = 4
    own: dict[str, tuple[str, ...]] | None = None
    n_adapting: int = 0


@dataclass(frozen=True)
class Audit:
    """The models and edits of an audit.

    sampler_identity: content of the sampler, a part of the keys of its draws.
    sources: how the user named each edited model.
    neighbors: facts from which locality and two-hop questions are made.
    """

    policy: LoraPolicy
    sampler_identity: str
    control: Answerer
    edited: Sequence[Answerer]
    sources: Sequence[str]
    edits: Sequence[Edit]
    settings: AuditSettings
    out: Path
    neighbors: Sequence[Fact] = ()

    @property
    def style(self) -> AskStyle:
        """The style of the headline."""
        return self.settings.styles[0]

    def evidence(self, book: AnswerBook) -> list[Evidence]:
        """Ask everything, and return what is known about each edited model.

        Raises: UserError for a null edit, a control that knows nothing, and whatever models and
            files raise.
        """
        check_identities(self.control, self.edited, in_prompt=any(e.prefix for e in self.edits))
        asked = [Asked(edit, "", tuple(own_questions(edit))) for edit in self.edits]
        answers = self._ask(book, asked, [], "prompts of the edits", self._to_come())
        standings = [standing_of(one.edit, self.style, answers[0]) for one in asked]
        gates = self._gates(asked, answers, standings)
        asked = self._with_draws(asked, standings)
        probes = self._probes
        answers = self._ask(book, asked, probes, "answers")
        return [
            self._evidence_of(i, asked, standings, probes, answers, gates[i])
            for i in range(len(self.edited))
        ]

    def _ask(
        self,
        book: AnswerBook,
        asked: Sequence[Asked],
        probes: Sequence[AskedProbe],
        title: str,
        to_come: ToCome = NOTHING,
    ) -> list[Answers]:
        """Ask every model, with the cost told before; the first answers are the control's."""
        wanted = [self._inquiries(model, asked, probes) for model in self._models]
        missing = [n_missing(book, m, w) for m, w in zip(self._models, wanted, strict=True)]
        tell_cost(book, self._models, wanted, to_come)
        left = [n_missing(book, m, w) for m, w in zip(self._models, wanted, strict=True)]
        with bar(title, sum(missing), sum(missing) - sum(left)) as progress:
            return [
                ask(book, model, texts, progress.advance)
                for model, texts in zip(self._models, wanted, strict=True)
            ]

    @property
    def _models(self) -> list[Answerer]:
        return [self.control, *self.edited]

    def _inquiries(
        self, model: Answerer, asked: Sequence[Asked], probes: Sequence[AskedProbe]
    ) -> list[Inquiry]:
        edited = model is not self.control
        found = [
            inquiry
            for one in asked
            for inquiry in one.inquiries(self.settings.styles, of_edited=edited)
        ]
        found += [probe.after if edited else probe.before for probe in probes]
        return list(dict.fromkeys(found))

    def _to_come(self) -> ToCome:
        """What is asked after the edits' own prompts, at most."""
        settings = self.settings
        own, n_edits, n_styles = settings.own, len(self.edits), len(settings.styles)
        n = n_edits * settings.n if own is None else sum(map(len, own.values()))
        return ToCome(
            screening=n * n_styles + len(self._probes),
            adapting=n_edits * settings.n_adapting * n_styles,
        )

    def _gates(
        self,
        asked: Sequence[Asked],
        answers: Sequence[Answers],
        standings: Sequence[Standing],
    ) -> list[tuple[Gate, ...]]:
        """Check what an audit rests on, before anything is drawn. Raises: UserError."""
        knowledge = check_knowledge(standings, self.style, answers[0])
        before = self._of_prompts(asked, answers[0], of_edited=False)
        gates: list[tuple[Gate, ...]] = []
        for model, theirs in zip(self.edited, answers[1:], strict=True):
            after = self._of_prompts(asked, theirs, of_edited=True)
            served = isinstance(model, ServedAnswerer)
            differ = check_answers_differ(model.name, before, after, served=served)
            gates.append((differ, knowledge))
        return gates

    def _of_prompts(
        self, asked: Sequence[Asked], answers: Answers, *, of_edited: bool
    ) -> list[Answer]:
        return [
            answers[inquiry]
            for one in asked
            for inquiry in one.inquiries([self.style], of_edited=of_edited)
        ]

    def _with_draws(self, asked: Sequence[Asked], standings: Sequence[Standing]) -> list[Asked]:
        """Add the questions that carry weights, for the edits that are counted."""
        draws = self._draws([s.edit for s in standings if s.is_counted])
        none = EditDraws((), None)
        return [
            replace(
                one,
                original_answer=standing.original_answer,
                questions=_merged([*one.questions, *drawn.questions]),
                largest_unseen=drawn.largest_unseen,
            )
            for one, standing in zip(asked, standings, strict=True)
            for drawn in [draws.get(one.edit.fact.key, none)]
        ]

    def _draws(self, edits: Sequence[Edit]) -> dict[str, EditDraws]:
        settings = self.settings
        if settings.own is not None:
            return {
                key: EditDraws(tuple(given_questions(settings.own.get(key, ()))), None)
                for key in (edit.fact.key for edit in edits)
            }
        n_sampler = settings.n // 2 if self.policy.has_adapter else 0
        sampling = Sampling(
            n_prior=settings.n - n_sampler,
            n_sampler=n_sampler,
            seed=settings.seed,
            identity=self.sampler_identity,
        )
        book = DrawBook(self.out / DRAWS, sampling)
        missing = book.missing(edits)
        with bar("edits with questions drawn", len(edits), len(edits) - len(missing)) as progress:
            started = time.monotonic()
            book.draw(self.policy, missing[:1], progress.advance)
            seconds = time.monotonic() - started
            if len(missing) > 1:
                print_plain(
                    f"{settings.n} questions for each of {len(missing)} edits: about "
                    f"{duration(seconds * len(missing))}"
                )
            book.draw(self.policy, edits, progress.advance)
        return {edit.fact.key: book.of(edit) for edit in edits}

    @cached_property
    def _probes(self) -> list[AskedProbe]:
        edits = self.edits
        if self.neighbors:
            edits = with_neighbors(edits, self.neighbors, self.settings.n_neighbors)
        probes: list[tuple[Edit, Probe]] = [
            (edit, probe)
            for edit in edits
            for probe in (*map(as_locality, edit.locality), *edit.portability)
        ]
        return asked_probes(unaffected(probes), self.style)

    def _evidence_of(
        self,
        number: int,
        asked: Sequence[Asked],
        standings: Sequence[Standing],
        probes: Sequence[AskedProbe],
        answers: Sequence[Answers],
        gates: tuple[Gate, ...],
    ) -> Evidence:
        model = self.edited[number]
        pre, post = answers[0], answers[number + 1]
        return Evidence(
            model=model_info(model, self.sources[number]),
            standings=standings,
            prompts=asked_prompts(model, standings, self.style, post),
            rows=[
                row
                for one in asked
                for row in rows_of(one, self.settings.styles, model.name, pre, post)
            ],
            probes=probe_rates(probes, pre, post),
            gates=gates,
            degenerate=count_degenerate(probes, post),
            largest_unseen={one.edit.fact.key: one.largest_unseen for one in asked},
        )


def _merged(questions: Sequence[AuditQuestion]) -> tuple[AuditQuestion, ...]:
    """One question per text: the edit's own prompts may be drawn too."""
    found: dict[str, AuditQuestion] = {}
    for question in questions:
        same = found.get(question.text)
        found[question.text] = question if same is None else same.joined(question)
    return tuple(found.values())
