"""Different questions of a fact: exact sampling without replacement.

The n largest perturbed log-probabilities are n draws without replacement, the largest first, and
the (n+1)-th is the threshold of their inclusion probabilities (Kool, van Hoof and Welling 2019,
arXiv 1903.06059; `beam_search.py`, `inclusion.py`).

Two token sequences can spell one text. They are two questions, each with its own probability,
unless ``same`` merges them. With the packaged model that is rare: of 768 questions (64 of each of
12 facts) 13 were not the tokenizer's own spelling of their text, no two had the same text, and 8
repeated another one but for case and punctuation.

The weight of a merged text is Σ p_s / π_s over its spellings s above the threshold κ, where
π_s = 1 − exp(−exp(log p_s − κ)). It is unbiased. Proof: without the text of s the threshold would
be κ_s, the n-th largest of the other texts. If s is above κ_s, its text is among the n and κ = κ_s;
if not, s is not counted. So s counts with probability π_s(κ_s), and κ_s does not depend on the
noise of s. (The probability that the text is included would ask for all of its spellings.) For
values that differ between the spellings of a text, it is nearly unbiased: the value is that of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
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
    log_share: log of the question's share in the weight of its text; 0 unless texts are merged and
        other spellings of it were drawn too.
    gumbel: log_p plus Gumbel noise.
    log_threshold: kappa of each fact, the largest perturbed log-probability that was not drawn;
        -inf where nothing is left.
    log_smallest: the n-th largest of each fact; -inf where there are fewer than n.
    """

    questions: Questions
    fact_index: Int[Tensor, " b"]
    log_p: Float[Tensor, " b"]
    log_share: Float[Tensor, " b"]
    gumbel: Float[Tensor, " b"]
    log_threshold: Float[Tensor, " f"]
    log_smallest: Float[Tensor, " f"]

    @property
    def counts(self) -> Int[Tensor, " f"]:
        """How many questions each fact has."""
        return self.fact_index.bincount(minlength=len(self.log_threshold))

    @property
    def log_inclusion(self) -> Float[Tensor, " b"]:
        """Log-probability that each question is drawn, given the threshold of its fact.

        Of merged spellings one is drawn for all. With it exp(log_p - log_inclusion) is the weight
        of its text: unbiased for means of what the spellings of a text have in common.
        """
        alone = log_inclusion(self.log_p, self.log_threshold[self.fact_index])
        return alone + self.log_share


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
            perturbed log-probability is returned, with its own log_p; the others count in
            log_share. At most `MOST_WIDENING` times as many sequences are compared; a fact may get
            fewer questions then.

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
    log_share: Float[Tensor, " b"]
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
        text = self._texts(leaves)
        rows = np.unique(text, return_index=True)[1].tolist()
        gumbel = leaves.gumbel.tolist()
        if len(rows) > self.n:
            n_above = rows[self.n]
        elif is_all:
            n_above = len(gumbel)
        elif len(gumbel) >= MOST_WIDENING * (self.n + 1):
            # All sequences above the last one are known, so it is a threshold too.
            n_above = len(gumbel) - 1
        else:
            return None
        threshold = gumbel[n_above] if n_above < len(gumbel) else -math.inf
        rows = [row for row in rows[: self.n] if row < n_above]
        # With fewer than n, any other question above the threshold would have been drawn.
        smallest = gumbel[rows[-1]] if len(rows) == self.n else threshold
        kept = torch.tensor(rows, device=leaves.fact.device)
        share = self._log_share(leaves.log_p[:n_above], text[:n_above], threshold)
        return _Draw(leaves[kept], share[kept], threshold, smallest)

    def _texts(self, leaves: Nodes) -> Int[ndarray, " b"]:
        """The number of the text of each question, in the order of the texts' first questions."""
        if self.same is None:
            return np.arange(len(leaves.fact))
        numbers: dict[str, int] = {}
        texts = self.policy.texts(Questions(leaves.ids, leaves.length))
        return np.array([numbers.setdefault(self.same(text), len(numbers)) for text in texts])

    def _log_share(
        self, log_p: Float[Tensor, " b"], text: Int[ndarray, " b"], log_threshold: float
    ) -> Float[Tensor, " b"]:
        """log of each question's share in Σ p / π of its text, of the questions above κ."""
        if self.same is None:
            return torch.zeros_like(log_p)
        threshold = log_p.new_tensor(log_threshold, dtype=torch.float64)
        log_weight = (log_p - log_inclusion(log_p, threshold)).cpu().numpy()
        total = np.full(len(text), -math.inf)
        np.logaddexp.at(total, text, log_weight)
        return torch.from_numpy(log_weight - total[text]).to(log_p.device)


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
        log_share=torch.cat([draw.log_share for draw in draws]),
        gumbel=torch.cat([draw.questions.gumbel for draw in draws]),
        log_threshold=log_p.new_tensor([draw.log_threshold for draw in draws]),
        log_smallest=log_p.new_tensor([draw.log_smallest for draw in draws]),
    )
