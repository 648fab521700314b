"""`contraflow judge`: a judge's word on pairs of your own, before it is trusted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_models, check_out_file
from contraflow.errors import UserError
from contraflow.facts.fact import numbered_lines

LABELS = (
    "entailment",
    "neutral",
    "contradiction",
)  # those of contraflow.judge, which imports torch


class Pair(NamedTuple):
    """One line of a file of pairs."""

    premise: str
    hypothesis: str
    label: str | None


def run(given: Given) -> int:
    """Read the pairs, load the judge, score, write, and compare with the labels where there are
    any.
    """
    pairs = read_pairs(Path(given.needed("pairs")).expanduser())
    out = None if given.needed("out") == "-" else given.path("out")
    if out is not None:
        check_out_file("out", out)
    from contraflow.settings.compose import compose_config

    config = compose_config(given.overrides, given.config_dir)
    check_models(config, ("judge",))

    from contraflow.run.build import load_judge

    judge = load_judge(config)
    premises, hypotheses, labels = zip(*pairs, strict=True)
    log_probs = judge.score(premises, hypotheses).log_probs.tolist()
    verdicts = [LABELS[max(range(3), key=row.__getitem__)] for row in log_probs]
    lines = [
        _line(pair, row, verdict)
        for pair, row, verdict in zip(pairs, log_probs, verdicts, strict=True)
    ]
    labeled = [(label, verdict) for label, verdict in zip(labels, verdicts, strict=True) if label]
    if out is not None:
        _write(out, lines)
    elif not labeled:
        sys.stdout.buffer.write(b"".join(lines))
    if labeled:
        print(agreement(labeled))
    return 0


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSONL file. Raises: UserError with file:line for the first that is none."""
    return [_pair(path, number, line) for number, line in _pair_lines(path)]


def _pair_lines(path: Path) -> list[tuple[int, bytes]]:
    if not path.exists():
        raise UserError(f"{path}: no such file of pairs; check the path")
    if path.is_file() and not path.read_bytes().strip():
        raise UserError(
            f"{path}: is empty; it needs one JSON object a line with premise and hypothesis"
        )
    return numbered_lines(path)


def _pair(path: Path, number: int, line: bytes) -> Pair:
    try:
        row: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}:{number}: is not valid JSON ({error}); write one object a line"
        ) from None
    if not isinstance(row, dict):
        raise UserError(
            f'{path}:{number}: is not a JSON object; write {{"premise": …, "hypothesis": …}}'
        )
    for key in ("premise", "hypothesis"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise UserError(
                f"{path}:{number}: '{key}' must be there and be a text that is not empty"
            )
    label = row.get("label")
    if label is not None and label not in LABELS:
        raise UserError(
            f"{path}:{number}: label {label!r} must be one of {', '.join(LABELS)}, or left out"
        )
    return Pair(row["premise"], row["hypothesis"], label)


def _line(pair: Pair, log_probs: Sequence[float], verdict: str) -> bytes:
    row: dict[str, object] = {"premise": pair.premise, "hypothesis": pair.hypothesis}
    if pair.label is not None:
        row["label"] = pair.label
    row |= {"verdict": verdict} | {
        f"log_{name}": value for name, value in zip(LABELS, log_probs, strict=True)
    }
    return msgspec.json.encode(row) + b"\n"


def _write(out: Path, lines: Sequence[bytes]) -> None:
    from contraflow.system.files import write_atomically

    write_atomically(out, b"".join(lines))
    print(f"wrote {len(lines)} scored pairs to {out}")


def agreement(labeled: Sequence[tuple[str, str]]) -> str:
    """Accuracies and the confusion table of (label, verdict) pairs, as text."""
    n = len(labeled)
    right = sum(label == verdict for label, verdict in labeled)
    told = sum(
        (label == "contradiction") == (verdict == "contradiction") for label, verdict in labeled
    )
    counts = Counter(labeled)
    lines = [
        f"labeled pairs             {n}",
        f"3-way accuracy             {right / n:.3f}",
        f"contradiction vs. rest     {told / n:.3f}",
        "",
        f"{'label' + chr(92) + 'judge':<15}" + "".join(f"{name:>15}" for name in LABELS),
    ]
    lines += [
        f"{label:<15}" + "".join(f"{counts[label, said]:>15}" for said in LABELS)
        for label in LABELS
    ]
    return "\n".join(lines)


COMMAND = Command(
    name="judge",
    summary="score premise/hypothesis pairs with a judge; check it on your own labels",
    about="""
    Each line of the file is one object with premise (what the edit fact says) and hypothesis (an answer),
    and where you know it a label: entailment, neutral or contradiction. Without labels the scores go to
    standard output, one JSON object a line; with labels the judge's 3-way accuracy, its contradiction-vs-
    rest accuracy and the confusion table are printed.
    """,
    examples=(
        "contraflow judge pairs=my_pairs.jsonl",
        "contraflow judge pairs=my_pairs.jsonl out=scored.jsonl judge=deberta_v3_large_mnli",
        "contraflow judge pairs=my_pairs.jsonl judge=any judge.name=./my_nli_checkpoint",
    ),
    run=run,
    arguments=(
        Argument(
            "pairs", "FILE", "JSONL with premise, hypothesis and perhaps label", required=True
        ),
        Argument(
            "out",
            "FILE",
            "where the scored pairs go; - is standard output, if there are no labels",
            default="-",
        ),
    ),
    overrides="which judge: judge=minilm (default), judge=deberta_v3_large_mnli, judge=any judge.name=…, "
    "judge.label_order=[…], judge.batch_size=64",
)
