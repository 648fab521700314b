"""What an editor leaves: the edited weights, the edits, and its own scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors.torch import save
from torch import Tensor

from contraflow.system.files import write_atomically
from contraflow.types import Forced
from examples.edits.cases import Case, write_cases

DELTA = "delta.safetensors"
EDITS = "edits.jsonl"
SCORES = "editor_scores.json"


@dataclass(frozen=True)
class Outcome:
    """One edit by its editor's own measure, and the answer to the fact's plain question."""

    case: Case
    before: Forced
    after: Forced
    answer: str


def write_delta(path: Path, tensors: Mapping[str, Tensor], base: str) -> None:
    """Write tensors that replace those of the unedited model by name."""
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(whole, {"base_model": base, "format": "pt"}))


def write_outcomes(
    folder: Path, editor: str, base: str, outcomes: Sequence[Outcome], seconds: float
) -> None:
    """Write `edits.jsonl` and `editor_scores.json`."""
    write_cases(folder / EDITS, [outcome.case for outcome in outcomes])
    record = {
        "editor": editor,
        "base_model": base,
        "seconds": round(seconds, 1),
        "token_match_before": token_match([o.before for o in outcomes]),
        "token_match_after": token_match([o.after for o in outcomes]),
        "edits": [_row(outcome) for outcome in outcomes],
    }
    write_atomically(folder / SCORES, msgspec.json.format(msgspec.json.encode(record)))


def token_match(scores: Sequence[Forced]) -> float:
    """Mean share of a target's tokens that are the most likely ones: the efficacy of papers."""
    return sum(score.n_matches / score.n_tokens for score in scores) / len(scores)


def _row(outcome: Outcome) -> dict[str, object]:
    fact = outcome.case.fact
    return {
        "fact_id": fact.fact_id,
        "prompt": outcome.case.prompt,
        "target": outcome.case.target,
        "before": msgspec.to_builtins(outcome.before),
        "after": msgspec.to_builtins(outcome.after),
        "question": outcome.case.question,
        "answer_after": outcome.answer,
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: one edit a line."""
    lines = ["| own prompt | target | match | log p | plain question | answer |", "|---" * 6 + "|"]
    for o in outcomes:
        match = f"{_match(o.before)} → {_match(o.after)}"
        log_p = f"{o.before.log_p:.1f} → {o.after.log_p:.1f}"
        cells = (o.case.prompt, o.case.target, match, log_p, o.case.question, o.answer)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def _match(score: Forced) -> str:
    return f"{score.n_matches}/{score.n_tokens}"
