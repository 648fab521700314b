"""Batches that travel to the learners without an exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from contraflow.actors.follower import FollowerExperience, send_shares
from contraflow.distributed.ranks import Ranks
from contraflow.experience.density import DrawnBatch
from support.actors import FACT, question
from support.models import fresh_lm
from support.tables import small_experience, small_policy

OWN = DrawnBatch((FACT,), (question(ids=(3,)),), (2,), 1.5, 0, "cuda:0", log_q=(-1.0,))
THEIRS = replace(OWN, scored=(question(ids=(4,)),), weights=(0.5,), log_q=(None,), n_replayed=1)


class OneOfTwo(Ranks):
    """A rank of two in one process: what rank 0 has scattered is kept for rank 1."""

    size = 2

    def __init__(self, rank: int, sent: dict[str, Sequence[bytes]]) -> None:
        self.rank = rank
        self.sent = sent

    def scatter(self, parts: Sequence[bytes], phase: str) -> bytes:
        if self.is_first:
            self.sent[phase] = parts
        return self.sent[phase][self.rank]


@pytest.mark.filterwarnings("ignore")
def test_a_share_arrives_as_it_was_on_the_device_of_its_rank():
    sent: dict[str, Sequence[bytes]] = {}
    assert send_shares(OneOfTwo(0, sent), [OWN, THEIRS], 7) == OWN
    plain = small_experience(small_policy(fresh_lm()))
    follower = FollowerExperience(
        plain.policy,
        plain.scorer,
        plain.replay,
        plain.reward,
        plain.settings,
        seed=0,
        ranks=OneOfTwo(1, sent),
    )
    assert follower.collect((), 7) == replace(THEIRS, device="cpu")
    assert list(sent) == ["questions of actors for step 7"] and sent[next(iter(sent))][0] == b""


def test_a_learner_alone_sends_nothing():
    assert send_shares(Ranks(), [OWN], 0) == OWN
