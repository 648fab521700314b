"""SNLI-style pairs, divided by premise so that training sees no held-out premise."""

import json
from pathlib import Path

from contraflow.errors import UserError
from contraflow.reward.judge.training.pairs import Pair, soft
from contraflow.reward.judge.training.rng import stable_int

TEST_ONE_IN = 10  # one premise in ten is held out


def load_nli(file: Path, split: str) -> list[Pair]:
    """The pairs of one split (`train` or `validation`)."""
    if not file.is_file():
        raise UserError(
            f"{file} is missing; pass the folder that holds nli/ and pararel/ with --data"
        )
    pairs = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        is_held_out = stable_int("premise", row["premise"]) % TEST_ONE_IN == 0
        if is_held_out == (split == "validation"):
            category = f"{row['source']}.{row['label']}"
            pairs.append(Pair(row["premise"], row["hypothesis"], soft(row["label"]), category))
    return pairs
