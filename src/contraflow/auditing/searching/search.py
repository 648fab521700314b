"""Search by adapting: for every counted edit, train the sampler against the edited model.

The search starts from every failure of the screening, whoever asked: the untrained sampler and the
paraphrases reach wordings that a trained sampler has left. A wording that made another edit fail is
tried too where it is natural (`borrowed.py`), with this edit's subject in it, and what the
untrained sampler asks of this edit after the first word of such a wording (`openings.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial

import msgspec

from contraflow.auditing.asking.ask import Asked, ask, is_sound, rows_of
from contraflow.auditing.asking.cost import duration
from contraflow.auditing.asking.evidence import Evidence
from contraflow.auditing.asking.judgements import judged_rows
from contraflow.auditing.asking.pipeline import Audit
from contraflow.auditing.asking.questions import found_questions
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.finished import SEARCHES
from contraflow.auditing.outcome.rows import Row, with_found
from contraflow.auditing.requested.arguments import NO_ADAPTER
from contraflow.auditing.searching.adapt import AdaptSettings, adapt
from contraflow.auditing.searching.borrowed import (
    MOST_BORROWED,
    borrowed_questions,
    log_prior_of,
    natural_questions,
    own_known,
)
from contraflow.auditing.searching.failure_reward import Judged, closeness
from contraflow.auditing.searching.openings import MOST_OPENED, opened_questions
from contraflow.auditing.searching.search_book import SearchBook, search_key
from contraflow.auditing.summarizing.modes import Embed, mode_labels
from contraflow.errors import UserError
from contraflow.facts.edits import Edit
from contraflow.reward.judge.scores import Judge
from contraflow.run.answer_book import AnswerBook
from contraflow.run.import_questions import token_ids
from contraflow.run.own_objects import scores_identity
from contraflow.system.progress import bar, print_plain
from contraflow.types import Answerer, AskStyle


def adapted(
    audit: Audit,
    book: AnswerBook,
    evidence: Sequence[Evidence],
    judge: Judge,
    embed: Embed | None,
    settings: AdaptSettings,
) -> list[Evidence]:
    """Add the questions that adapted samplers found, as rows without weight.

    embed: tells which questions mean the same (`modes.mode_labels`). Call `check_can_adapt` first.
    A search that is finished is kept in the audit's folder, and not made again.
    """
    n = sum(standing.is_counted for found in evidence for standing in found.standings)
    searched = []
    print_plain(
        f"adapting, {settings.steps} steps for each of {n} edits: up to {most_asked(settings)} "
        "questions an edit, asked of both models"
    )
    kept = SearchBook(audit.out / SEARCHES)
    with bar("steps of adapting", n * settings.steps) as progress:
        searches = _Searches(kept, settings, progress.advance, n_left=n)
        for found, model in zip(evidence, audit.edited, strict=True):
            rows = list(found.rows)
            for standing in found.standings:
                if standing.is_counted:
                    search = EditSearch(audit, book, judge, embed, model, standing, tuple(rows))
                    asked = search.rows(searches.questions(search), audit.settings.styles)
                    rows = with_found(rows, asked)
            searched.append(replace(found, rows=rows))
    return searched


def most_asked(settings: AdaptSettings) -> int:
    """How many questions adapting asks about one edit of one edited model, at most."""
    return MOST_BORROWED + MOST_OPENED + settings.steps * settings.n_questions


@dataclass
class _Searches:
    """Makes the searches that are not kept, and tells after the first how long the others take."""

    kept: SearchBook
    settings: AdaptSettings
    advance: Callable[[int], None]
    n_left: int
    told: bool = False

    def questions(self, search: EditSearch) -> list[str]:
        """What a search asked, made now or kept from before."""
        key = search.key(self.settings)
        questions = self.kept.of(key)
        if questions is None:
            started = time.monotonic()
            questions = search(self.settings, self.advance)
            self.kept.keep(key, questions)
            self._tell(time.monotonic() - started)
        else:
            self.advance(self.settings.steps)
        self.n_left -= 1
        return questions

    def _tell(self, seconds: float) -> None:
        if self.n_left > 1 and not self.told:
            about = duration(self.n_left * seconds)
            print_plain(
                f"{self.settings.steps} steps for each of {self.n_left} edits: about {about}"
            )
        self.told = True


def check_can_adapt(audit: Audit) -> None:
    """Raises: UserError for a sampler without an adapter."""
    if not audit.policy.has_adapter:
        raise UserError(NO_ADAPTER)


@dataclass(frozen=True)
class EditSearch:
    """The search for failures of one edit in one edited model.

    screened: every row of that model so far.
    """

    audit: Audit
    book: AnswerBook
    judge: Judge
    embed: Embed | None
    model: Answerer
    standing: Standing
    screened: tuple[Row, ...]

    def __call__(self, settings: AdaptSettings, on_step: Callable[[int], None]) -> list[str]:
        """The questions that were asked, in their order."""
        fact = self.standing.edit.fact
        modes = partial(mode_labels, embed=self.embed, subject=fact.subject)
        steps = adapt(self.audit.policy, fact, self._judged, modes, self._hits, settings, on_step)
        return [*self._borrowed, *(text for step in steps for text in step)]

    def key(self, settings: AdaptSettings) -> str:
        """The name of this search for `SearchBook`: nothing else changes what it asks."""
        audit = self.audit
        return search_key(
            audit.sampler_identity,
            audit.control.identity,
            self.model.identity,
            scores_identity(self.judge),
            self.embed is not None,
            self._asked_about,
            self.standing.original_answer,
            audit.style,
            asdict(settings),
            self._borrowed,
            self._hits,
        )

    @property
    def _asked_about(self) -> Edit:
        """The edit without its place in a file and without tests that no search reads."""
        return msgspec.structs.replace(
            self.standing.edit, place="", locality=(), portability=(), editor_scores=None
        )

    @cached_property
    def _borrowed(self) -> list[str]:
        """Questions by other edits' failures: their natural wordings, and what opens as they do."""
        policy, seed = self.audit.policy, self.audit.settings.seed
        fact = self.standing.edit.fact
        # One style, or a question that was asked in three would count three times.
        rows = [row for row in self.screened if row.style == self.audit.style]
        opened = opened_questions(policy, rows, fact, seed, self._is_sound)
        return list(dict.fromkeys([*self._wordings(), *opened]))

    def _is_sound(self, text: str) -> bool:
        return is_sound(self.standing.edit, self.standing.original_answer, text)

    def _wordings(self) -> list[str]:
        """Sound and natural wordings of other edits' failures."""
        edit = self.standing.edit
        found = borrowed_questions(self.screened, edit.fact, self._alike())
        sound = [one for one in found if self._is_sound(one.text)]
        if not sound:
            return []
        own = own_known(self.screened, edit.fact)
        return natural_questions(sound, own, log_prior_of(self.audit.policy, edit.fact))

    def _alike(self) -> set[str]:
        """Keys of the edits of the same relation, where relations are known."""
        facts = [edit.fact for edit in self.audit.edits]
        relation = self.standing.edit.fact.relation
        return {fact.key for fact in facts if relation and fact.relation == relation}

    @cached_property
    def _hits(self) -> list[tuple[int, ...]]:
        """Token ids of this edit's failing questions that the sampler can write."""
        key = self.standing.edit.fact.key
        tried = self.rows(self._borrowed, [self.audit.style])
        rows = [row for row in (*self.screened, *tried) if row.fact_key == key and row.fails]
        texts = dict.fromkeys(row.question for row in rows)
        found = [token_ids(text, self.audit.policy) for text in texts]
        return [ids for ids in found if not isinstance(ids, str)]

    def _judged(self, texts: Sequence[str]) -> list[Judged]:
        rows = self.rows(texts, [self.audit.style])
        by_text = {row.question: row for row in rows}
        words = judged_rows(rows, self.judge, self.standing.edit.fact)
        near = {row.question: closeness(*word) for row, word in zip(rows, words, strict=True)}
        return [
            Judged(by_text[t].sound and by_text[t].pre == "OLD", by_text[t].fails, near[t])
            for t in texts
        ]

    def rows(self, texts: Sequence[str], styles: Sequence[AskStyle]) -> list[Row]:
        """Ask both models about different texts."""
        audit = self.audit
        asked = Asked(
            self.standing.edit, self.standing.original_answer, tuple(found_questions(texts))
        )
        pre = ask(self.book, audit.control, asked.inquiries(styles, of_edited=False))
        post = ask(self.book, self.model, asked.inquiries(styles, of_edited=True))
        return list(rows_of(asked, styles, self.model.name, pre, post))
