"""SNLI-style pairs, divided by premise so that no held-out premise was ever trained on."""

import json
from pathlib import Path

from contraflow.errors import UserError
from contraflow.reward.judge.training.pairs import Pair, soft
from contraflow.reward.judge.training.rng import stable_int

TEST_ONE_IN = 10


def load_nli(file: Path, split: str) -> list[Pair]:
    """The pairs of one split (`train` or `validation`)."""
    if not file.is_file():
        raise UserError(
            f"{file} is missing; pass the folder that holds nli/ and pararel/ with --data"
        )
    rows = [
        json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    return [
        Pair(
            row["premise"], row["hypothesis"], soft(row["label"]), f"{row['source']}.{row['label']}"
        )
        for row in rows
        if (stable_int("premise", row["premise"]) % TEST_ONE_IN == 0) == (split == "validation")
    ]
