r"""What a sampler finds where its likeliest questions are asked first, beside paraphrases.

    python -m studies.audit_likeliest audits/full

Per edit, as many questions of the sampler as the edit has paraphrases that are questions: chosen at
random (the expectation), or its likeliest by log P_F, which is known before anything is asked. Only
counted edits. An edit is counted where the control answers one of its own prompts, its paraphrases
among them, so the paraphrases' known share is that of a selection.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from contraflow.auditing.outcome.finished import read_audit
from contraflow.auditing.outcome.rows import PARAPHRASE, SAMPLER, Row


def found(rows: Sequence[Row]) -> dict[str, float]:
    """Expected failing and known questions per source, at equal numbers about each edit."""
    total: defaultdict[str, float] = defaultdict(float)
    by_edit: dict[str, list[Row]] = {}
    for row in rows:
        by_edit.setdefault(row.fact_key, []).append(row)
    for of_edit in by_edit.values():
        given = [r for r in of_edit if PARAPHRASE in r.sources and not r.is_continuation]
        drawn = [r for r in of_edit if SAMPLER in r.sources and r.log_pf is not None]
        drawn.sort(key=lambda r: -(r.log_pf or 0.0))
        n = min(len(given), len(drawn))
        if n:
            sources = {"paraphrases": given, "sampler": drawn, "likeliest": drawn[:n]}
            total["asked"] += n
            for name, chosen in sources.items():
                total[f"{name}, failing"] += n * sum(r.fails for r in chosen) / len(chosen)
                total[f"{name}, known"] += n * sum(r.is_known for r in chosen) / len(chosen)
    return total


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a source and edited model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audit", type=Path)
    audit = read_audit(parser.parse_args(arguments).audit)
    style = audit.result.models[0].styles[0].style
    for model in audit.result.models:
        counted = {fact.fact_id for fact in model.facts if fact.counted}
        rows = [
            row
            for row in audit.rows
            if row.model == model.model.name
            and row.fact_id in counted
            and (row.style == style or row.is_continuation)
        ]
        for name, value in found(rows).items():
            print(f"{model.model.name}: {name}: {value:.1f}")


if __name__ == "__main__":
    main()
