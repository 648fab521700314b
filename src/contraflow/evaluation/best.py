"""Draw more than is wanted and keep what pays best: the reward has been computed on the fact itself, so use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from contraflow.records import QuestionRecord


def best_of_each_fact(records: Iterable[QuestionRecord], keep: int) -> Iterator[QuestionRecord]:
    """The ``keep`` different questions of each fact with the highest log R, best first.

    Records of one fact must be adjacent, as a rollout yields them; of equal questions the first counts. What comes
    out is no longer a sample in proportion to the reward.
    """
    for _, group in groupby(records, key=lambda record: record.fact_id):
        different = list({record.question: record for record in reversed(list(group))}.values())[::-1]
        yield from sorted(different, key=lambda record: record.log_reward, reverse=True)[:keep]
