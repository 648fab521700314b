"""What a facts file leaves out without a fault: it can be used, but not for everything."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.errors import UserError
from contraflow.facts.fact import Fact
from contraflow.facts.split import Splits, split_facts

_RECOMMENDED = {
    "original_answer": "`contraflow data filter-known` and data.filter_known=true leave such facts "
    "out, and so does the rate strict_success; no export by strict_success has a question about "
    "them",
    "edited_answer": "strict success and the leak checks do not look for it",
    "original_fact": "log_entailment is 0, whatever the answer says",
}


def notes(facts: Sequence[Fact]) -> list[str]:
    """Return a line for each recommended field that is missing, and one for an empty split."""
    lines: list[str] = []
    for field, effect in _RECOMMENDED.items():
        n = sum(not getattr(fact, field) for fact in facts)
        if n:
            have = "has" if n == 1 else "have"
            lines.append(f"{n} of {len(facts)} facts {have} no {field} (recommended): {effect}")
    reason = why_not_trainable(split_facts(facts))
    return lines if reason is None else [*lines, f"no run can train on these facts: {reason}"]


def require_trainable(splits: Splits, path: str | None) -> None:
    """Raises: UserError where a part that a run needs has none of the facts of `data.facts`."""
    reason = why_not_trainable(splits)
    if reason is not None:
        raise UserError(f"data.facts={path}: {reason}")


def why_not_trainable(splits: Splits) -> str | None:
    """Return where the facts went if none is left for a part that a run needs, or None."""
    sizes = {
        "training": len(splits.train),
        "validation": len(splits.validation),
        "test": len(splits.test) + len(splits.test_relations),
    }
    if all(sizes.values()):
        return None
    n_facts = sum(sizes.values())
    filled = [part for part, n in sizes.items() if n]
    missing = " and ".join(f"no {part} facts" for part, n in sizes.items() if not n)
    if n_facts == 1:
        placed = f"makes the only fact a {filled[0]} fact"
    elif len(filled) == 1:
        placed = f"makes all {n_facts} facts {filled[0]} facts"
    else:
        parts = " and ".join(_counted(sizes[part], part) for part in filled)
        placed = f"splits the {n_facts} facts into {parts}"
    return (
        f"a hash of the subjects {placed}, so there are {missing}; give facts about more "
        "subjects (of ten, about eight are for training, one for validation and one for the test)"
    )


def _counted(n: int, part: str) -> str:
    return f"{n} {part} fact{'' if n == 1 else 's'}"
