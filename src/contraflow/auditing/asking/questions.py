"""The questions of an edit: its own prompts, and different draws of the sampler with weights.

Draws are of two distributions at temperature 1: the untrained sampler P_Q (adapter off), which is
also the reference p_ref, and the trained one P_F (adapter on), which finds failures. Each part has
no repeats. Together they are one sample with known inclusion probabilities (`weights.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.auditing.outcome.rows import ADAPTED, OWN, PARAPHRASE, PLAIN, PRIOR, PROMPT, SAMPLER
from contraflow.auditing.statistics.weights import Stratum, union_weights
from contraflow.facts import Fact
from contraflow.facts.edit import Edit
from contraflow.facts.known import plain_question
from contraflow.policy.distinct import sample_distinct
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.seeding import torch_rng
from contraflow.system.files import append
from contraflow.system.kept_lines import kept_lines

Ids = tuple[int, ...]


class AuditQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question about one edit, with the sources that gave it and its weight (0: no draw)."""

    text: str
    sources: tuple[str, ...]
    weight: float = 0.0
    log_p_prior: float | None = None
    log_pf: float | None = None

    def joined(self, other: AuditQuestion) -> AuditQuestion:
        """The same text from other sources too.

        Weights add up: two token sequences of one text are two draws with one answer.
        """
        return AuditQuestion(
            text=self.text,
            sources=tuple(dict.fromkeys((*self.sources, *other.sources))),
            weight=self.weight + other.weight,
            log_p_prior=_log_sum(self.log_p_prior, other.log_p_prior),
            log_pf=_log_sum(self.log_pf, other.log_pf),
        )


def _log_sum(first: float | None, second: float | None) -> float | None:
    """log of the sum of two probabilities; None stands for an unknown one."""
    known = [value for value in (first, second) if value is not None]
    return float(np.logaddexp.reduce(known)) if known else None


def own_questions(edit: Edit) -> list[AuditQuestion]:
    """The prompt that the editor was given, a plain question, and the paraphrases of the file."""
    texts = {edit.prompt: [PROMPT]} if edit.prompt else {}
    plain = plain_question(edit.fact)
    if plain:
        texts.setdefault(plain, []).append(PLAIN)
    for paraphrase in edit.paraphrases:
        texts.setdefault(paraphrase, []).append(PARAPHRASE)
    return [AuditQuestion(text=text, sources=tuple(sources)) for text, sources in texts.items()]


def given_questions(questions: Sequence[str]) -> list[AuditQuestion]:
    """A person's own questions, each weighing as often as it is given."""
    return [
        AuditQuestion(text=text, sources=(OWN,), weight=float(times))
        for text, times in Counter(questions).items()
    ]


def found_questions(questions: Sequence[str]) -> list[AuditQuestion]:
    """Questions of a sampler that was trained against the edited model: search, no weight."""
    return [AuditQuestion(text=text, sources=(ADAPTED,)) for text in dict.fromkeys(questions)]


@dataclass(frozen=True)
class Sampling:
    """How many different questions are drawn per edit, and of what sampler.

    identity: content of the sampler (its weights, prompts and constraints); a part of the key of
    draws that are kept.
    """

    n_prior: int
    n_sampler: int
    seed: int
    identity: str


class EditDraws(msgspec.Struct, frozen=True):
    """The draws of one edit.

    largest_unseen: the largest weight that a question which was not drawn can have; None without
        draws of the reference. A question of little probability that only P_Q would give has the
        weight exp(kappa) of its sample, and any other a smaller one.
    """

    questions: tuple[AuditQuestion, ...]
    largest_unseen: float | None


class _Draws(msgspec.Struct, frozen=True):
    """The draws of one edit as they are kept in a file."""

    key: str
    draws: EditDraws


class DrawBook:
    """Draws that have been made: a file beside the audit, one line an edit.

    Raises: UserError for a file that cannot be read or written.
    """

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path = path
        self.sampling = sampling
        self._draws: dict[str, EditDraws] = {}
        remedy = "the questions of its edit will be drawn again"
        for kept in kept_lines(path, _Draws, what="a draw that an audit wrote", remedy=remedy):
            self._draws[kept.key] = kept.draws

    def missing(self, edits: Sequence[Edit]) -> list[Edit]:
        """The edits whose questions have not been drawn yet."""
        return [edit for edit in edits if self._key(edit.fact) not in self._draws]

    def of(self, edit: Edit) -> EditDraws:
        """The draws of an edit. Raises: KeyError before `draw`."""
        return self._draws[self._key(edit.fact)]

    def draw(
        self, policy: LoraPolicy, edits: Sequence[Edit], on_edits: Callable[[int], None]
    ) -> None:
        """Draw what is missing; the draws of an edit are on the disk before the next one's."""
        for edit in self.missing(edits):
            key = self._key(edit.fact)
            self._draws[key] = draw_questions(policy, edit.fact, self.sampling)
            append(self.path, msgspec.json.encode(_Draws(key, self._draws[key])) + b"\n", sync=True)
            on_edits(1)

    def _key(self, fact: Fact) -> str:
        s = self.sampling
        content = msgspec.json.encode([s.identity, s.n_prior, s.n_sampler, s.seed, fact])
        return hashlib.blake2b(content, digest_size=12).hexdigest()


@torch.no_grad()
def draw_questions(policy: LoraPolicy, fact: Fact, sampling: Sampling) -> EditDraws:
    """Draw different questions with the adapter off, and with it on, and weigh their union.

    The draws depend on the seed and the fact alone.
    """
    parts = {
        source: _draw(policy, fact, n, source, sampling.seed)
        for source, n in ((PRIOR, sampling.n_prior), (SAMPLER, sampling.n_sampler))
        if n
    }
    rows = dict.fromkeys(ids for part in parts.values() for ids in part.rows)
    questions = stack_questions(list(rows), policy.lm.device)
    index = torch.zeros(len(rows), dtype=torch.long, device=policy.lm.device)
    log_p = {
        PRIOR: _as_array(policy.prior([fact], index, questions).log_p_question),
        SAMPLER: _as_array(policy.evaluate([fact], index, questions).log_p_question),
    }
    strata = [part.stratum(list(rows), log_p[source]) for source, part in parts.items()]
    weights = union_weights(log_p[PRIOR], strata)
    texts = policy.texts(questions)
    found: dict[str, AuditQuestion] = {}
    for i, ids in enumerate(rows):
        question = AuditQuestion(
            text=texts[i],
            sources=tuple(source for source, part in parts.items() if ids in part.rows),
            weight=float(weights[i]),
            log_p_prior=float(log_p[PRIOR][i]),
            log_pf=float(log_p[SAMPLER][i]),
        )
        same = found.get(question.text)
        found[question.text] = question if same is None else same.joined(question)
    return EditDraws(tuple(found.values()), parts[PRIOR].largest_unseen if PRIOR in parts else None)


@dataclass(frozen=True)
class _Part:
    """Different draws of one distribution: token ids, and the two bounds of the draw."""

    rows: tuple[Ids, ...]
    log_threshold: float
    log_smallest: float

    @property
    def largest_unseen(self) -> float:
        """exp(kappa) for a question that this sample did not draw."""
        return math.exp(self.log_smallest)

    def stratum(self, union: Sequence[Ids], log_p: Float[np.ndarray, " m"]) -> Stratum:
        """This sample seen from the union of all samples."""
        own = set(self.rows)
        drawn = np.array([ids in own for ids in union])
        return Stratum(log_p, drawn, self.log_threshold, self.log_smallest)


def _draw(policy: LoraPolicy, fact: Fact, n: int, source: str, seed: int) -> _Part:
    rng = torch_rng(seed, "audit", source, fact.fact_id, device=policy.lm.device)
    drawn = sample_distinct(policy, [fact], n, rng, frozen=source == PRIOR)
    rows = tuple(policy.token_rows(drawn.questions))
    return _Part(rows, float(drawn.log_threshold[0]), float(drawn.log_smallest[0]))


def _as_array(values: Tensor) -> Float[np.ndarray, " m"]:
    array: Float[np.ndarray, " m"] = values.double().cpu().numpy()
    return array
