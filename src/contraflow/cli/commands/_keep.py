"""`keep=K keep_by=…`: which of a fact's sampled questions are kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, ParsedArguments
from contraflow.errors import UserError

if TYPE_CHECKING:
    from contraflow.evaluation.records import QuestionRecord

BY = ("reward", "proportion")
KEEP_BY = Argument(
    "keep_by",
    "|".join(BY),
    "the ones with the highest log R, or a draw in proportion to R",
    default="reward",
)


@dataclass(frozen=True)
class Keep:
    """At most ``count`` different questions of each fact, ``by`` reward or in proportion to it."""

    count: int
    by: str
    seed: int

    @classmethod
    def of(cls, args: ParsedArguments, n: int, seed: int) -> Keep | None:
        """What the arguments ask for; None without keep, for all n questions.

        Raises: UserError for more than are sampled, and for keep_by without keep.
        """
        count = args.optional_integer("keep", 1)
        by = args.choice("keep_by", BY)
        if count is None:
            if args.values.get("keep_by"):
                raise UserError(f"keep_by={by}: says which of n questions are kept; give keep= too")
            return None
        if count > n:
            raise UserError(
                f"keep={count}: more than are sampled; give at most n={n}, or sample more with n="
            )
        return cls(count, by, seed)

    def __call__(self, records: Iterator[QuestionRecord]) -> Iterator[QuestionRecord]:
        """Choose from a stream, in which the records of a fact are adjacent."""
        from contraflow.evaluation.resampling import in_proportion
        from contraflow.export.selection import best_of_each_fact

        if self.by == "reward":
            yield from best_of_each_fact(records, self.count)
            return
        worth = []
        for candidates, chosen in in_proportion(records, self.count, self.seed):
            worth.append(candidates.worth)
            yield from chosen
        print(
            f"kept {self.count} questions a fact in proportion to the reward; a fact's candidates "
            f"are worth {median(worth):.1f} equal draws (median); with more candidates, n=, that "
            "grows",
            file=sys.stderr,
        )
