"""The packaged judge on hand-written pairs about things outside its training data."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from contraflow.models.weights.packaged import is_prepared, packaged_folder
from contraflow.reward.judge import LABELS, PackagedJudge, packaged_judge_folder

pytestmark = pytest.mark.slow
BACKBONE = "all-minilm-l6-v2"
THREE_WAY, CONTRADICTION_VS_REST = 0.90, 0.92
PAIRS_FILE = Path(__file__).parent / "pairs.jsonl"
ROWS = [json.loads(line) for line in PAIRS_FILE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def judge() -> PackagedJudge:
    if not is_prepared(BACKBONE):
        pytest.skip(f"{BACKBONE} is not in the cache; run `contraflow models download` first")
    return PackagedJudge(packaged_folder(BACKBONE), packaged_judge_folder())


def labels_of(judge: PackagedJudge, pairs: list[tuple[str, str]]) -> list[str]:
    scores = judge.score([premise for premise, _ in pairs], [answer for _, answer in pairs])
    return [LABELS[index] for index in scores.log_probs.argmax(-1).tolist()]


@pytest.mark.defect(10)
def test_hand_written_pairs(judge: PackagedJudge) -> None:
    """The numbers of the model card: contradiction against the rest, and all three labels."""
    predicted = labels_of(judge, [(row["premise"], row["hypothesis"]) for row in ROWS])
    true = [row["label"] for row in ROWS]
    right = sum(a == b for a, b in zip(predicted, true, strict=True)) / len(ROWS)
    rest = sum(
        (a == LABELS[2]) == (b == LABELS[2]) for a, b in zip(predicted, true, strict=True)
    ) / len(ROWS)
    confusion = Counter(zip(true, predicted, strict=True))
    assert rest >= CONTRADICTION_VS_REST, confusion
    assert right >= THREE_WAY, confusion


def test_what_a_plain_snli_judge_gets_wrong(judge: PackagedJudge) -> None:
    """A judge trained on SNLI called the first pair an entailment and the second neutral."""
    assert labels_of(
        judge,
        [
            ("The capital of France is Lyon.", "The capital of France is Paris."),
            (
                "Hamlet was written by Christopher Marlowe.",
                "Hamlet was written by William Shakespeare.",
            ),
            ("Hamlet was written by Christopher Marlowe.", "Marlowe wrote Hamlet."),
            (
                "Hamlet was written by Christopher Marlowe.",
                "Christopher Marlowe was an English playwright.",
            ),
        ],
    ) == ["contradiction", "contradiction", "entailment", "neutral"]


@pytest.mark.defect(10)
def test_degenerate_answers_are_no_contradictions(judge: PackagedJudge) -> None:
    answers = [
        "",
        "the the the the the",
        "Hamlet Hamlet Hamlet Hamlet",
        "Who wrote Hamlet?",
        "I don't know.",
    ]
    premise = "Hamlet was written by Christopher Marlowe."
    assert "contradiction" not in labels_of(judge, [(premise, answer) for answer in answers])


def test_batching_does_not_change_the_real_scores(judge: PackagedJudge) -> None:
    rows = ROWS[:20]
    premises, answers = [row["premise"] for row in rows], [row["hypothesis"] for row in rows]
    together = judge.score(premises, answers).log_probs
    alone = torch.cat(
        [judge.score([p], [a]).log_probs for p, a in zip(premises, answers, strict=True)]
    )
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_the_shipped_files_are_small() -> None:
    assert sum(file.stat().st_size for file in packaged_judge_folder().iterdir()) <= 4_000_000
