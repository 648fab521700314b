"""Wordings that made other edits fail, tried with this edit's subject in them.

A wording of another relation can be nonsense here: "In which city is the capital of Claude Monet?".
A model answers such a question somehow, and what it says is no failure of the edit. So a wording is
taken only from an edit whose own questions ask for a kind of thing that this one's ask for too
(`asked_for.py`): "What country is The Great Gatsby born in?" tells nothing about an author. And
only natural ones are asked: those that P_Q, which has the edit's statement before it, asks at most
20 times more rarely than the rarest of the edit's own questions (the plain one and the paraphrases)
to which the control tells the original answer.

log P_Q is compared within one fact. Compared with the other fact's log P_Q of the same wording it
would say less: "In which country is BMW?" is asked 50,000 times more rarely than "In which country
is Alhambra?", whose statement has these words, but only twice as rarely as BMW's plain question.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from contraflow.auditing.outcome.rows import PARAPHRASE, PLAIN, Row
from contraflow.auditing.summarizing.asked_for import asked_for
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.run.import_questions import token_ids

MOST_BORROWED = 16
MOST_SCORED = 64
RARER = math.log(20)  # nats

LogPrior = Callable[[Sequence[str]], list[float | None]]


@dataclass(frozen=True)
class Borrowed:
    """A question of another edit about this subject. is_alike: the other has the same relation."""

    text: str
    is_alike: bool


def natural_questions(
    borrowed: Sequence[Borrowed], own: Sequence[str], log_prior: LogPrior
) -> list[str]:
    """Up to 16 of the borrowed questions: natural ones.

    Where the sampler can write none of the edit's own questions there is nothing to compare with;
    then only wordings of the same relation are taken.

    Args:
        own: the edit's own questions that are known.
        log_prior: log P_Q of questions about the fact, in nats; None for one that the sampler
            cannot write. Such a borrowed question is left out.
    """
    found = borrowed[:MOST_SCORED]
    scores = log_prior([*own, *(one.text for one in found)])
    of_own = [score for score in scores[: len(own)] if score is not None]
    if not of_own:
        return [one.text for one in found if one.is_alike][:MOST_BORROWED]
    least = min(of_own) - RARER
    natural = [
        one.text
        for one, score in zip(found, scores[len(own) :], strict=True)
        if score is not None and score >= least
    ]
    return natural[:MOST_BORROWED]


def own_known(rows: Sequence[Row], fact: Fact) -> list[str]:
    """The plain question and the paraphrases to which the control tells the original answer."""
    texts = [
        row.question
        for row in rows
        if row.fact_key == fact.key and row.is_known and {PLAIN, PARAPHRASE} & set(row.sources)
    ]
    return list(dict.fromkeys(texts))


def borrowed_questions(rows: Sequence[Row], fact: Fact, alike: Collection[str]) -> list[Borrowed]:
    """Questions that made other edits fail, about this subject instead of theirs.

    Each other edit gives one in turn, those of the same relation first; questions that this edit
    was asked already are left out. So are edits of another relation that ask for other things.

    Args:
        alike: keys of the facts of the same relation.
    """
    own = {row.question for row in rows if row.fact_key == fact.key}
    others = _asking_otherwise(rows, fact) - set(alike)
    named = with_article(fact)
    of_edit: dict[str, list[Borrowed]] = {}
    for row in sorted(rows, key=lambda row: row.fact_key not in alike):
        is_other = row.fact_key != fact.key and row.fact_key not in others
        if row.fails and is_other and row.subject in row.question:
            theirs = re.compile(rf"(?:\bthe )?{re.escape(row.subject)}")
            text = theirs.sub(lambda _: named, row.question)
            one = Borrowed(text, row.fact_key in alike)
            of_edit.setdefault(row.fact_key, []).append(one)
    turns = itertools.zip_longest(*of_edit.values())
    found: dict[str, Borrowed] = {}
    for one in (one for turn in turns for one in turn if one is not None):
        found.setdefault(one.text, one)
    return [one for text, one in found.items() if text not in own]


def _asking_otherwise(rows: Sequence[Row], fact: Fact) -> set[str]:
    """Keys of the edits whose own known questions ask for no kind of thing that this one's do.

    An edit without such questions is none of them: nobody can say what it asks for.
    """
    kinds: dict[str, set[str]] = {}
    for row in rows:
        if row.is_known and {PLAIN, PARAPHRASE} & set(row.sources):
            kinds.setdefault(row.fact_key, set()).add(asked_for(row.question, row.subject))
    mine = kinds.get(fact.key)
    return {key for key, theirs in kinds.items() if mine and mine.isdisjoint(theirs)}


def with_article(fact: Fact) -> str:
    """The subject as its statement writes it: "the Alhambra" where the fact has "Alhambra"."""
    has_article = re.search(rf"\bthe {re.escape(fact.subject)}\b", fact.edit_fact, re.IGNORECASE)
    return f"the {fact.subject}" if has_article else fact.subject


def log_prior_of(policy: LoraPolicy, fact: Fact) -> LogPrior:
    """log P_Q of questions about a fact, the sampler with its adapter off."""

    @torch.no_grad()
    def score(texts: Sequence[str]) -> list[float | None]:
        found = [token_ids(text, policy) for text in texts]
        rows = [ids for ids in found if not isinstance(ids, str)]
        if not rows:
            return [None] * len(texts)
        device = policy.lm.device
        index = torch.zeros(len(rows), dtype=torch.long, device=device)
        log_p = policy.prior([fact], index, stack_questions(rows, device)).log_p_question
        values = iter(log_p.tolist())
        return [None if isinstance(ids, str) else next(values) for ids in found]

    return score
