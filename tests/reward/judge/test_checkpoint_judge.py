"""Label order, pair order and batching of any NLI checkpoint."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DebertaV2Config

from contraflow.errors import UserError
from contraflow.reward.judge import LABELS, NliJudge
from contraflow.reward.judge.batching import encode_pairs
from contraflow.reward.judge.checkpoint import columns_by_probes, named_columns
from contraflow.reward.judge.probes import PROBES
from contraflow.settings.models import JudgeConfig
from support.judges import save_random_judge

TOLERANCE = 1e-5
PREMISES = [
    "the man is asleep .",
    "a dog is running .",
    "the capital of france is lyon .",
    "a man is not awake .",
]
HYPOTHESES = ["the man is awake .", "a dog .", "the capital of france is paris .", ""]


def raw_log_probs(folder: Path, premise: str, hypothesis: str) -> torch.Tensor:
    """Score one pair without our code, as the reference.

    In a list, because a bare empty string would lose its separator.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return (
            model(**tokenizer([premise], [hypothesis], return_tensors="pt"))
            .logits[0]
            .log_softmax(-1)
        )


@pytest.mark.defect(9)
def test_columns_follow_the_checkpoints_own_names(nli_folder: Path) -> None:
    """id2label is contradiction, entailment, neutral; so our columns are its columns 1, 2, 0."""
    scores = NliJudge(nli_folder, probe=False).score(PREMISES, HYPOTHESES)
    for row, (premise, hypothesis) in enumerate(zip(PREMISES, HYPOTHESES, strict=True)):
        reference = raw_log_probs(nli_folder, premise, hypothesis)
        torch.testing.assert_close(
            scores.log_probs[row], reference[[1, 2, 0]], atol=TOLERANCE, rtol=0
        )
        torch.testing.assert_close(
            scores.log_contradiction[row], reference[0], atol=TOLERANCE, rtol=0
        )


def test_the_premise_comes_first(nli_folder: Path) -> None:
    judge = NliJudge(nli_folder, probe=False)
    forth, back = (
        judge.score(PREMISES[:1], HYPOTHESES[:1]),
        judge.score(HYPOTHESES[:1], PREMISES[:1]),
    )
    assert not torch.allclose(forth.log_probs, back.log_probs, atol=0.01)


def test_scores_do_not_depend_on_the_batch(nli_folder: Path) -> None:
    together = (
        NliJudge(nli_folder, JudgeConfig(batch_size=4), probe=False)
        .score(PREMISES, HYPOTHESES)
        .log_probs
    )
    alone = (
        NliJudge(nli_folder, JudgeConfig(batch_size=1), probe=False)
        .score(PREMISES, HYPOTHESES)
        .log_probs
    )
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)
    back = (
        NliJudge(nli_folder, JudgeConfig(batch_size=3), probe=False)
        .score(PREMISES[::-1], HYPOTHESES[::-1])
        .log_probs
    )
    torch.testing.assert_close(back.flip(0), together, atol=TOLERANCE, rtol=0)


def test_no_pairs_give_no_rows(nli_folder: Path) -> None:
    assert NliJudge(nli_folder, probe=False).score([], []).log_probs.shape == (0, 3)


def test_unequal_lists_are_refused(nli_folder: Path) -> None:
    with pytest.raises(UserError, match="2 premises but 1 hypotheses"):
        NliJudge(nli_folder, probe=False).score(["a", "b"], ["c"])


def test_a_long_premise_is_cut_and_the_answer_kept(nli_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(nli_folder)
    encoded = encode_pairs(tokenizer, ["man " * 100], ["the dog is awake ."], 40)
    ids = encoded["input_ids"][0].tolist()
    answer = tokenizer("the dog is awake .", add_special_tokens=False)["input_ids"]
    assert len(ids) == 40
    assert ids[-6:-1] == answer  # and then the last separator


def test_an_endless_answer_does_not_crash(nli_folder: Path) -> None:
    scores = NliJudge(nli_folder, probe=False).score(["the man is asleep ."], ["dog " * 500])
    assert torch.isfinite(scores.log_probs).all()


@pytest.mark.defect(9)
def test_a_checkpoint_without_contradiction_is_refused_by_name(tmp_path: Path) -> None:
    folder = save_random_judge(tmp_path / "binary", {0: "entailment", 1: "not_entailment"})
    with pytest.raises(
        UserError, match=re.escape(str(folder)) + ".*no contradiction label.*not_entailment"
    ):
        NliJudge(folder)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere could not be loaded"):
        NliJudge(tmp_path / "nowhere")


@pytest.mark.defect(9)
def test_a_wrong_judge_fails_the_self_test(nli_folder: Path) -> None:
    """Random weights cannot get all four hard probes right."""
    with pytest.raises(UserError, match="fails its self-test"):
        NliJudge(nli_folder)


@pytest.mark.defect(9)
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["entailment", "neutral", "contradiction"], (0, 1, 2)),
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], (2, 1, 0)),
        (["contradiction", "entailment", "neutral"], (1, 2, 0)),
        (["LABEL_0", "LABEL_1", "LABEL_2"], None),
    ],
)
def test_label_orders_in_the_wild(names: list[str], expected: tuple[int, ...] | None) -> None:
    assert named_columns(dict(enumerate(names)), "x") == expected


def test_not_contradiction_is_no_contradiction() -> None:
    with pytest.raises(UserError, match="no contradiction label"):
        named_columns({0: "entailment", 1: "neutral", 2: "not_contradiction"}, "x")


def test_an_explicit_order_wins_and_is_checked() -> None:
    names = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert named_columns(names, "x", ["neutral", "contradiction", "entailment"]) == (2, 0, 1)
    with pytest.raises(UserError, match="label_order must name"):
        named_columns(names, "x", ["neutral", "neutral", "entailment"])


def test_probes_settle_the_order_of_nameless_labels() -> None:
    """A perfect model that has contradiction first and entailment last."""
    own = {"contradiction": 0, "neutral": 1, "entailment": 2}
    labels = [label for _, _, label in PROBES]
    raw = torch.stack([torch.eye(3)[own[label]] for label in labels])
    assert columns_by_probes(raw, labels, "x") == tuple(own[label] for label in LABELS)
    with pytest.raises(UserError, match="do not settle"):
        columns_by_probes(torch.zeros(len(labels), 3), labels, "x")


def test_identity_changes_with_the_weights_not_the_place(tmp_path: Path, nli_folder: Path) -> None:
    first = NliJudge(nli_folder, probe=False).identity
    moved = nli_folder.rename(tmp_path / "moved")
    assert NliJudge(moved, probe=False).identity == first
    save_random_judge(moved, {0: "neutral", 1: "entailment", 2: "contradiction"})
    assert NliJudge(moved, probe=False).identity != first


def test_deberta_takes_its_own_attention(tmp_path: Path) -> None:
    """DeBERTa v2/v3 has eager attention only; another choice would raise at load."""
    names = {0: "contradiction", 1: "entailment", 2: "neutral"}
    folder = save_random_judge(tmp_path / "deberta", names)
    config = DebertaV2Config(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        type_vocab_size=0,
        pad_token_id=0,
        id2label=names,
    )
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float16)
    model.save_pretrained(folder)
    scores = NliJudge(folder, probe=False).score(PREMISES, HYPOTHESES)
    # A half-precision file is computed in float32 on a CPU.
    assert scores.log_probs.dtype == torch.float32
    torch.testing.assert_close(scores.log_probs.exp().sum(-1), torch.ones(4))


def test_premises_that_would_lose_their_end_are_found(nli_folder: Path) -> None:
    """Exactly those whose scores stop depending on the last word."""
    judge = NliJudge(nli_folder, probe=False)
    answer = "the man is asleep ."
    premises = [" ".join(["dog"] * n) for n in (1, 20, 40, 60, 80, 200)]
    cut = judge.cut_premises(premises, [answer] * len(premises))
    for i, premise in enumerate(premises):
        ends = [f"{premise} man", f"{premise} child"]
        first, second = judge.score(ends, [answer] * 2).log_probs
        depends_on_the_end = bool((first - second).abs().max() > 1e-6)
        assert depends_on_the_end == (i not in cut), premise
    assert set(cut) <= set(judge.cut_premises(premises)), "an answer of usual length is assumed"


def test_identity_changes_with_the_precision(nli_folder: Path) -> None:
    """Scores in bfloat16 are others, and a GPU and a CPU may share a store of scores."""
    judges = [
        NliJudge(nli_folder, dtype=dtype, probe=False) for dtype in (torch.float32, torch.bfloat16)
    ]
    full, half = (judge.score(PREMISES, HYPOTHESES).log_contradiction for judge in judges)
    assert not torch.equal(full, half)
    assert judges[1].identity == f"{judges[0].identity}:bfloat16"
    assert NliJudge(nli_folder, probe=False).identity == judges[0].identity
