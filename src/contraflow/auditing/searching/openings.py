"""Openings that made other edits fail, continued by the untrained sampler about this edit.

A whole wording of another relation is often nonsense here: "Which author wrote Facebook?". Its
first word is not: P_Q, which has this edit's statement before it, goes on from "Which" with
questions of its own. The trained sampler has left such openings, and a dozen draws of P_Q may miss
them too.

The questions are search results, like all others of adapting: they carry no weight.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.auditing.outcome.rows import Row
from contraflow.facts import Fact
from contraflow.models.decoding.texts import Chosen, Now, Request
from contraflow.models.decoding.writing import write_eagerly
from contraflow.policy.draw import Sampling, request
from contraflow.policy.lora import LoraPolicy
from contraflow.seeding import torch_rng
from contraflow.text.signs import SIGNS
from contraflow.text.tokens import normalize
from contraflow.types import Questions

MOST_OPENINGS = 3
MOST_OPENED = 16  # questions of all openings
N_DRAWS = 24  # of one opening; a third to a half of them are sound and not asked yet
SPARE = 2
WELL_ASKED = 3  # known questions of an opening after which it is not tried again

_FIRST_WORD = re.compile(rf"\W*([\w{SIGNS}'’-]+)\s")


def opened_questions(
    policy: LoraPolicy,
    rows: Sequence[Row],
    fact: Fact,
    seed: int,
    is_sound: Callable[[str], bool],
) -> list[str]:
    """Up to 16 sound questions that open as failing ones of other edits, one opening in turn.

    The likeliest of an opening come first: the control knows more of them.

    Args:
        rows: of one edited model; questions that this edit was asked already are left out.
    """
    asked = {normalize(row.question) for row in rows if row.fact_key == fact.key}
    of_opening = [
        [text for text in texts if normalize(text) not in asked and is_sound(text)]
        for texts in (_opened_with(policy, fact, o, seed) for o in failing_openings(rows, fact))
    ]
    turns = itertools.zip_longest(*of_opening)
    found = [text for turn in turns for text in turn if text is not None]
    return found[:MOST_OPENED]


def _opened_with(policy: LoraPolicy, fact: Fact, opening: str, seed: int) -> list[str]:
    """Different questions after an opening, the likeliest first; none if it cannot be written."""
    ids = opening_ids(policy, opening)
    if ids is None:
        return []
    rng = torch_rng(seed, "opening", opening, fact.fact_id, device=policy.lm.device)
    drawn = questions_after(policy, fact, ids, N_DRAWS, rng)
    texts = policy.texts(drawn.questions)
    found: dict[str, str] = {}
    for i in drawn.log_p.argsort(descending=True, stable=True).tolist():
        found.setdefault(normalize(texts[i]), texts[i])
    return list(found.values())


def opening_ids(policy: LoraPolicy, opening: str) -> tuple[int, ...] | None:
    """The tokens of an opening behind the prompt; None where the sampler cannot write it."""
    space = "" if policy.prompt.body_template[-1:].isspace() else " "
    ids = tuple(policy.lm.encode(f"{space}{opening}"))
    constraints = policy.constraints
    can_write = set(constraints.action_ids[:-1].tolist()).issuperset(ids)
    return ids if can_write and len(ids) < constraints.max_len else None


def failing_openings(rows: Sequence[Row], fact: Fact) -> list[str]:
    """Up to three first words with which other edits fail, the largest share of failing ones first.

    A share counts as if two more known questions had not failed, so that one failure is not a rule.
    An opening is left out in which this edit was asked three known questions already. Case does not
    matter; the first spelling is returned.
    """
    failing: Counter[str] = Counter()
    known: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for row in rows:
        opening = opening_of(row.question)
        word = opening.casefold()
        if row.is_known and row.fact_key == fact.key:
            asked[word] += 1
        elif row.is_known and word:
            known[word] += 1
            failing[word] += row.fails
            spelling.setdefault(word, opening)
    few = [word for word in known if failing[word] and asked[word] < WELL_ASKED]
    few.sort(key=lambda word: -failing[word] / (known[word] + SPARE))
    return [spelling[word] for word in few[:MOST_OPENINGS]]


def opening_of(question: str) -> str:
    """The first word of a question; "" for a question of one word."""
    found = _FIRST_WORD.match(question)
    return found[1] if found else ""


@dataclass(frozen=True)
class Opened:
    """Questions, and the log-probability of what follows their opening, in float64."""

    questions: Questions
    log_p: Float[Tensor, " n"]


@torch.no_grad()
def questions_after(
    policy: LoraPolicy, fact: Fact, opening: Sequence[int], n: int, rng: torch.Generator
) -> Opened:
    """Draw n questions of P_Q, the adapter off, given the tokens with which they open."""
    lm, k = policy.lm, len(opening)
    whole = request(policy.constraints, n, rng, 1.0, lm.device)
    rest = Request(_After(policy.constraints, k), whole.noise[k:], whole.temperature)
    start = torch.tensor(list(opening), dtype=torch.long, device=lm.device)
    row = torch.zeros(n, dtype=torch.long, device=lm.device)
    with lm.frozen():
        decoder = policy.decoder([fact], n, frozen=True)
        for token in start:
            row = decoder.advance(row, token.expand(n))
        written = write_eagerly(decoder, row, rest)
    ids = torch.cat([start.expand(n, k), written.ids], 1)
    return Opened(Questions(ids, written.lengths + k), written.log_p)


@dataclass(frozen=True)
class _After(Sampling):
    """Samples an action after some tokens that are given."""

    n_given: int

    @property
    def key(self) -> Hashable:
        return ("after", self.n_given, super().key)

    def __call__(self, logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], now: Now) -> Chosen:
        return super().__call__(logits, row, replace(now, step=now.step + self.n_given))
