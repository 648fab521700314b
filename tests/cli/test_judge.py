"""`contraflow judge`: scores, accuracies and the confusion table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contraflow.cli.commands.judge import LABELS, agreement
from support.cli import Result, json_lines, put_module

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


class FakeJudge:
    """Contradiction if the hypothesis starts with "No", entailment if it repeats the premise."""

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Any:
        import torch

        rows = [
            2 if hypothesis.startswith("No") else 0 if hypothesis == premise else 1
            for premise, hypothesis in zip(premises, hypotheses, strict=True)
        ]
        return SimpleNamespace(log_probs=torch.eye(3)[rows].mul(9).log_softmax(-1))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    put_module(monkeypatch, "contraflow.run.build", load_judge=lambda _config: FakeJudge())


PAIRS = [
    {"premise": "It rains.", "hypothesis": "No rain.", "label": "contradiction"},
    {"premise": "It rains.", "hypothesis": "It rains.", "label": "entailment"},
    {"premise": "It rains.", "hypothesis": "Cats purr.", "label": "contradiction"},
    {"premise": "It rains.", "hypothesis": "It rains.", "label": "neutral"},
]


@pytest.mark.usefixtures("judge")
def test_judge_scores_pairs_without_labels(contraflow: Call, write: Write) -> None:
    write("pairs.jsonl", [{k: v for k, v in pair.items() if k != "label"} for pair in PAIRS])
    rows = json_lines(contraflow("judge", "pairs=pairs.jsonl").out)
    assert [row["verdict"] for row in rows] == [
        "contradiction",
        "entailment",
        "neutral",
        "entailment",
    ]
    for row in rows:
        assert sum(math.exp(row[f"log_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("judge")
def test_pairs_without_a_label_are_scored_beside_labeled_ones(
    contraflow: Call, write: Write
) -> None:
    """Three with a label and one without: the fourth was neither scored nor mentioned."""
    mixed = [*PAIRS[:3], {k: v for k, v in PAIRS[3].items() if k != "label"}]
    write("pairs.jsonl", mixed)
    result = contraflow("judge", "pairs=pairs.jsonl")
    assert result.code == 0
    scored, rest = result.out.split("\n", 1)
    (row,) = json_lines(scored)
    assert row["hypothesis"] == PAIRS[3]["hypothesis"] and "label" not in row
    assert "labeled pairs" in rest


@pytest.mark.usefixtures("judge")
def test_judge_is_compared_with_labels(contraflow: Call, write: Write) -> None:
    """Pairs 1 and 2 of 4 are right; in contradiction or not, all but pair 3."""
    write("pairs.jsonl", PAIRS)
    result = contraflow("judge", "pairs=pairs.jsonl", "out=scored.jsonl")
    assert result.code == 0
    table = {tuple(line.split()[:-1]): line.split()[-1] for line in result.out.splitlines() if line}
    assert table["3-way", "accuracy"] == "0.500"
    assert table["contradiction", "vs.", "rest"] == "0.750"
    assert [row["label"] for row in json_lines(Path("scored.jsonl").read_text())] == [
        p["label"] for p in PAIRS
    ]


@pytest.mark.usefixtures("judge")
def test_settings_that_a_judge_does_not_read_are_named(contraflow: Call, write: Write) -> None:
    write("pairs.jsonl", PAIRS)
    words = ("objective=tb", "trainer.n_steps=3", "model.device=cpu", "judge.batch_size=2")
    result = contraflow("judge", "pairs=pairs.jsonl", *words)
    assert result.code == 0
    assert [line.split(" has ")[0] for line in result.err.splitlines()] == [
        "warning: objective=tb",
        "warning: trainer.n_steps=3",
    ]
    assert "judge reads judge, model.device" in result.err


def test_the_confusion_table_has_labels_in_rows() -> None:
    rows = agreement(
        [("neutral", "entailment"), ("neutral", "entailment"), ("neutral", "neutral")]
    ).splitlines()
    cells = {row.split()[0]: row.split()[1:] for row in rows[-3:]}
    assert cells == {
        "entailment": ["0"] * 3,
        "neutral": ["2", "1", "0"],
        "contradiction": ["0"] * 3,
    }


def test_the_labels_are_those_of_the_judges() -> None:
    from contraflow.reward.judge import LABELS as TRUE_LABELS

    assert LABELS == TRUE_LABELS
