"""Different questions of a fact: exact sampling without replacement.

The n largest perturbed log-probabilities are n draws without replacement, the largest first, and
the (n+1)-th is the threshold of their inclusion probabilities (Kool, van Hoof and Welling 2019,
arXiv 1903.06059; `beam_search.py`, `inclusion.py`).

Two token sequences can spell one text. They are two questions, each with its own probability,
unless ``same`` merges them. With the packaged model that is rare: of 768 questions (64 of each of
12 facts) 13 were not the tokenizer's own spelling of their text, no two had the same text, and 8
repeated another one but for case and punctuation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.facts import Fact
from contraflow.policy.beam_search import Nodes, StochasticBeamSearch
from contraflow.policy.inclusion import log_inclusion
from contraflow.policy.lora import LoraPolicy
from contraflow.policy.tree_noise import root_keys
from contraflow.types import Questions

MOST_WIDENING = 8  # times the asked number, when merging leaves too few
SPARE = 16  # one more sequence per so many, when texts are merged


@dataclass(frozen=True)
class DistinctQuestions:
    """Different questions of f facts, in float64; the questions of a fact are adjacent.

    Within a fact the largest perturbed log-probability is first: the order of the draws. A fact
    with fewer complete questions than asked has all of them.

    log_p: log-probability of the whole question, with its stop, under the distribution that was
        sampled: with or without the adapter, at the temperature of the draw.
    gumbel: log_p plus Gumbel noise.
    log_threshold: kappa of each fact, the largest perturbed log-probability that was not drawn;
        -inf where nothing is left.
    log_smallest: the n-th largest of each fact; -inf where there are fewer than n.
    """

    questions: Questions
    fact_index: Int[Tensor, " b"]
    log_p: Float[Tensor, " b"]
    gumbel: Float[Tensor, " b"]
    log_threshold: Float[Tensor, " f"]
    log_smallest: Float[Tensor, " f"]

    @property
    def counts(self) -> Int[Tensor, " f"]:
        """How many questions each fact has."""
        return self.fact_index.bincount(minlength=len(self.log_threshold))

    @property
    def log_inclusion(self) -> Float[Tensor, " b"]:
        """Log-probability that each question is drawn, given the threshold of its fact."""
        return log_inclusion(self.log_p, self.log_threshold[self.fact_index])


@torch.no_grad()
def sample_distinct(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    n_samples: int,
    rng: torch.Generator,
    *,
    frozen: bool = False,
    temperature: float = 1.0,
    same: Callable[[str], str] | None = None,
) -> DistinctQuestions:
    """Draw ``n_samples`` different questions per fact, without replacement.

    The rows of a fact are adjacent, in the order of the facts. A batch holds n_samples + 1 rows a
    fact; callers split many facts.

    Args:
        frozen: draw from the prior P_Q (adapter off) instead of P_F.
        temperature: as in `LoraPolicy.sample`. Weights must then use ``log_p``, which is the
            tempered one; with log P_F at temperature 1 they are wrong.
        same: texts with equal values are one question. Of these the token sequence with the largest
            perturbed log-probability is returned, and its log_p is that of the sequence: the
            probability of the text is larger by its other spellings. At most `MOST_WIDENING` times
            as many sequences are compared; a fact may get fewer questions then.

    Raises: ValueError unless n_samples and temperature are positive; UserError when a prompt is too
        long.
    """
    if n_samples < 1 or not temperature > 0:
        raise ValueError(f"n_samples={n_samples}, temperature={temperature}: must be positive")
    wanted = _Wanted(policy, n_samples, same)
    keys = root_keys(len(facts), rng, policy.lm.device)
    drawn: dict[int, _Draw] = {}
    # With ``same``, a few more than n + 1 save most facts a second search.
    width = n_samples + 1 + (n_samples // SPARE if same is not None else 0)
    while len(drawn) < len(facts):
        pending = [i for i in range(len(facts)) if i not in drawn]
        search = StochasticBeamSearch(policy, width, frozen, temperature)
        leaves = search([facts[i] for i in pending], keys[pending])
        for i, of_fact in zip(pending, leaves, strict=True):
            draw = wanted.among(of_fact, is_all=len(of_fact.fact) < width)
            if draw is not None:
                drawn[i] = draw
        width *= 2
    return _stack([drawn[i] for i in range(len(facts))])


@dataclass(frozen=True)
class _Draw:
    """The questions of one fact, with its two bounds."""

    questions: Nodes
    log_threshold: float
    log_smallest: float


@dataclass(frozen=True)
class _Wanted:
    """How many questions a fact gets, and which texts are one question."""

    policy: LoraPolicy
    n: int
    same: Callable[[str], str] | None

    def among(self, leaves: Nodes, *, is_all: bool) -> _Draw | None:
        """Take the n best of a fact's complete questions; None if more of them must be searched.

        ``is_all``: the fact has no other questions.
        """
        rows = self._first_of_each_text(leaves)
        gumbel = leaves.gumbel.tolist()
        if len(rows) > self.n:
            threshold = gumbel[rows[self.n]]
        elif is_all:
            threshold = -math.inf
        elif len(gumbel) >= MOST_WIDENING * (self.n + 1):
            # All sequences above the last one are known, so it is a threshold too.
            threshold = gumbel[-1]
            rows = [row for row in rows if row + 1 < len(gumbel)]
        else:
            return None
        rows = rows[: self.n]
        smallest = gumbel[rows[-1]] if len(rows) == self.n else -math.inf
        return _Draw(leaves[torch.tensor(rows, device=leaves.fact.device)], threshold, smallest)

    def _first_of_each_text(self, leaves: Nodes) -> list[int]:
        if self.same is None:
            return list(range(len(leaves.fact)))
        first: dict[str, int] = {}
        for row, text in enumerate(self.policy.texts(Questions(leaves.ids, leaves.length))):
            first.setdefault(self.same(text), row)
        return list(first.values())


def _stack(draws: Sequence[_Draw]) -> DistinctQuestions:
    rows = [len(draw.questions.fact) for draw in draws]
    ids = torch.cat([draw.questions.ids for draw in draws])
    lengths = torch.cat([draw.questions.length for draw in draws])
    log_p = torch.cat([draw.questions.log_p for draw in draws])
    device = log_p.device
    fact = torch.arange(len(draws), device=device)
    width = max(1, int(lengths.max()))
    return DistinctQuestions(
        questions=Questions(ids[:, :width], lengths),
        fact_index=fact.repeat_interleave(torch.tensor(rows, device=device)),
        log_p=log_p,
        gumbel=torch.cat([draw.questions.gumbel for draw in draws]),
        log_threshold=log_p.new_tensor([draw.log_threshold for draw in draws]),
        log_smallest=log_p.new_tensor([draw.log_smallest for draw in draws]),
    )
