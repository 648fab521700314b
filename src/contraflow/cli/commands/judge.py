"""`contraflow judge`: score premise/hypothesis pairs of your own, and measure the accuracy."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._output import out_file
from contraflow.cli.commands._unused import not_read, print_warnings
from contraflow.cli.preflight import check_models
from contraflow.errors import UserError
from contraflow.facts.fact import numbered_lines
from contraflow.system.input_file import require_file

if TYPE_CHECKING:
    from contraflow.reward.judge.scores import Judge

# A copy of contraflow.reward.judge.LABELS, whose module imports torch.
LABELS = ("entailment", "neutral", "contradiction")


class Pair(NamedTuple):
    """One line of a file of pairs."""

    premise: str
    hypothesis: str
    label: str | None


def run(args: ParsedArguments) -> int:
    """Read the pairs, load the judge, score, write; of those with labels, print the accuracy."""
    pairs = read_pairs(args.required_path("pairs"))
    out = out_file(args, "pairs")
    from contraflow.settings.compose import compose_config

    config = compose_config(args.overrides, args.config_dir)
    print_warnings(not_read(args.overrides, "judge", ("judge", "model.device")))
    check_models(config, ("judge",))

    from contraflow.run.build import load_judge

    judge = load_judge(config)
    premises, hypotheses, labels = zip(*pairs, strict=True)
    _refuse_cut_premises(judge, args.required_path("pairs"), premises, hypotheses)
    log_probs = judge.score(premises, hypotheses).log_probs.tolist()
    verdicts = [_most_likely(row) for row in log_probs]
    lines = [
        _encode(pair, row, verdict)
        for pair, row, verdict in zip(pairs, log_probs, verdicts, strict=True)
    ]
    labeled = [(label, verdict) for label, verdict in zip(labels, verdicts, strict=True) if label]
    if out is not None:
        _write(out, lines)
    else:
        scored = [line for line, label in zip(lines, labels, strict=True) if not label]
        sys.stdout.buffer.write(b"".join(scored))
        sys.stdout.flush()
    if labeled:
        print(agreement(labeled))
    return 0


def _refuse_cut_premises(
    judge: Judge, path: Path, premises: Sequence[str], hypotheses: Sequence[str]
) -> None:
    """Raises: UserError with file:line when the judge would not read the end of a premise."""
    from contraflow.reward.judge.scores import LengthLimited

    if not isinstance(judge, LengthLimited):
        return
    cut = judge.cut_premises(premises, hypotheses)
    if cut:
        line = numbered_lines(path)[cut[0]][0]
        raise UserError(
            f"{path}:{line}: the pair is too long for the judge, which would not read the end of "
            f"the premise ({len(cut)} of {len(premises)} pairs); shorten it, or choose a judge "
            "that reads more tokens"
        )


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSONL file. Raises: UserError with file:line for the first bad line."""
    require_file(path, of="file of pairs")
    if not path.read_bytes().strip():
        raise UserError(
            f"{path}: is empty; it needs one JSON object per line with premise and hypothesis"
        )
    return [_parse(f"{path}:{number}", line) for number, line in numbered_lines(path)]


def _parse(where: str, line: bytes) -> Pair:
    try:
        row: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{where}: is not valid JSON ({error}); write one object per line"
        ) from None
    if not isinstance(row, dict):
        raise UserError(f'{where}: is not a JSON object; write {{"premise": …, "hypothesis": …}}')
    for key in ("premise", "hypothesis"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise UserError(f"{where}: '{key}' must be there and be a text that is not empty")
    label = row.get("label")
    if label is not None and label not in LABELS:
        raise UserError(f"{where}: label {label!r} must be one of {', '.join(LABELS)}, or left out")
    return Pair(row["premise"], row["hypothesis"], label)


def _most_likely(log_probs: Sequence[float]) -> str:
    """The label with the highest log-probability."""
    return LABELS[max(range(len(LABELS)), key=log_probs.__getitem__)]


def _encode(pair: Pair, log_probs: Sequence[float], verdict: str) -> bytes:
    row: dict[str, object] = {"premise": pair.premise, "hypothesis": pair.hypothesis}
    if pair.label is not None:
        row["label"] = pair.label
    row["verdict"] = verdict
    for name, value in zip(LABELS, log_probs, strict=True):
        row[f"log_{name}"] = value
    return msgspec.json.encode(row) + b"\n"


def _write(out: Path, lines: Sequence[bytes]) -> None:
    from contraflow.system.files import write_atomically

    write_atomically(out, b"".join(lines))
    print(f"wrote {len(lines)} scored pairs to {out}")


def agreement(labeled: Sequence[tuple[str, str]]) -> str:
    """Accuracies and the confusion table of (label, verdict) pairs, as text."""
    n = len(labeled)
    correct = sum(label == verdict for label, verdict in labeled)
    correct_binary = sum(
        (label == "contradiction") == (verdict == "contradiction") for label, verdict in labeled
    )
    counts = Counter(labeled)
    lines = [
        f"labeled pairs             {n}",
        f"3-way accuracy             {correct / n:.3f}",
        f"contradiction vs. rest     {correct_binary / n:.3f}",
        "",
        f"{'label' + chr(92) + 'judge':<15}" + "".join(f"{name:>15}" for name in LABELS),
    ]
    for label in LABELS:
        cells = (f"{counts[label, verdict]:>15}" for verdict in LABELS)
        lines.append(f"{label:<15}" + "".join(cells))
    return "\n".join(lines)


COMMAND = Command(
    name="judge",
    summary="score premise/hypothesis pairs with a judge; check it on your own labels",
    description="""
    Each line of the file is one object with premise (the edit fact), hypothesis (an answer), and a
    label if you know it: entailment, neutral or contradiction. Without labels the scores go to
    standard output, one JSON object per line. With labels the command prints the judge's 3-way
    accuracy, its accuracy of contradiction against the rest, and the confusion table.
    """,
    examples=(
        "contraflow judge pairs=my_pairs.jsonl",
        "contraflow judge pairs=my_pairs.jsonl out=scored.jsonl judge=deberta_v3_large_mnli",
        "contraflow judge pairs=my_pairs.jsonl judge=any judge.name=./my_nli_checkpoint",
    ),
    run=run,
    arguments=(
        Argument(
            "pairs", "FILE", "JSONL with premise, hypothesis and optionally label", required=True
        ),
        Argument(
            "out",
            "FILE",
            "file for the scored pairs; - is standard output, used only if there are no labels",
            default="-",
        ),
    ),
    overrides=(
        "the judge: judge=minilm (default), judge=deberta_v3_large_mnli, "
        "judge=any judge.name=…, judge.label_order=[…], judge.batch_size=64"
    ),
)
