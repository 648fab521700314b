"""BERT, RoBERTa and DeBERTa-v3 from a folder (`judge=any judge.name=…`), labels in any order."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from contraflow.errors import UserError
from contraflow.reward.judge.probes import PROBES
from contraflow.reward.judge.scores import LABELS
from contraflow.run import build
from contraflow.settings import Config
from contraflow.settings.compose import compose_config
from support.judges import FAMILIES, save_judge

ORDERS = (
    ("entailment", "neutral", "contradiction"),
    ("contradiction", "neutral", "entailment"),
    ("neutral", "contradiction", "entailment"),
)
PREMISES = ["The capital of Italy is Rome.", "A man is walking.", "Peter is a doctor from Canada."]
HYPOTHESES = ["The capital is not Rome.", "A child is eating an apple in a field.", "Rome."]


def judge_from(folder: Path) -> build.Judge:
    """Load the judge as the command line does, self-test included."""
    config = any_judge()
    return build.load_judge(replace(config, judge=replace(config.judge, name=str(folder))))


@cache
def any_judge() -> Config:
    """The config of `judge=any`; composing it takes as long as loading a judge."""
    return compose_config(["judge=any", "judge.name=some/model", "model.device=cpu"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ORDERS, ids=["-".join(o[:1]) for o in ORDERS])
def test_scores_follow_label_names_and_equal_the_plain_model(
    tmp_path: Path, family: str, order: tuple[str, ...]
) -> None:
    """The checkpoint has its own label order; scores must follow the names, pair by pair."""
    folder = save_judge(family, tmp_path / family, order)
    judge = judge_from(folder)  # raises if the order is misread
    premises, hypotheses, names = zip(*PROBES, strict=True)
    assert [LABELS[i] for i in judge.score(premises, hypotheses).log_probs.argmax(-1)] == list(
        names
    )

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = judge.score(PREMISES, HYPOTHESES).log_probs
    for row, (premise, hypothesis) in enumerate(zip(PREMISES, HYPOTHESES, strict=True)):
        with torch.inference_mode():
            plain = (
                model(**tokenizer(premise, hypothesis, return_tensors="pt"))
                .logits[0]
                .log_softmax(-1)
            )
        expected = [float(plain[order.index(label)]) for label in LABELS]
        assert scores[row].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_pair_has_two_token_types_where_the_family_has_any(tmp_path: Path) -> None:
    """Without token types BERT cannot tell premise from answer.

    RoBERTa and DeBERTa-v3 have none.
    """
    kinds = {}
    for family in FAMILIES:
        folder = save_judge(family, tmp_path / family, ORDERS[0])
        judge, seen = judge_from(folder), {}
        forward = judge._model.forward
        judge._model.forward = lambda _f=forward, _s=seen, **batch: (_s.update(batch), _f(**batch))[
            1
        ]
        judge.score(["Rome is in Italy."], ["Rome."])
        types = seen.get("token_type_ids", torch.zeros(1))
        kinds[family] = set(types.flatten().tolist())
    assert kinds["bert"] == {0, 1}
    assert kinds["roberta"] == {0}
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.type_vocab_size == 0


@pytest.mark.parametrize(
    "order", list(permutations(LABELS)), ids=lambda order: order[0][0] + order[1][0]
)
def test_nameless_labels_are_settled_by_the_probes(tmp_path: Path, order: tuple[str, ...]) -> None:
    judge = judge_from(save_judge("bert", tmp_path / "judge", order, nameless=True))
    premises, hypotheses, names = zip(*PROBES, strict=True)
    assert [LABELS[i] for i in judge.score(premises, hypotheses).log_probs.argmax(-1)] == list(
        names
    )


def test_swapped_names_are_caught_by_the_self_test(tmp_path: Path) -> None:
    """A config edited by hand calls entailment contradiction."""
    folder = save_judge("deberta_v2", tmp_path / "judge", ORDERS[0])
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = dict(enumerate(ORDERS[1]))
    config["label2id"] = {name: i for i, name in enumerate(ORDERS[1])}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="fails its self-test"):
        judge_from(folder)


def without_tokenizer_json(folder: Path) -> Path:
    """Leave a sentencepiece model and no tokenizer.json, as in microsoft/deberta-v3."""
    pytest.importorskip("sentencepiece")
    from transformers.convert_slow_tokenizer import import_protobuf

    unigram = json.loads((folder / "tokenizer.json").read_text())["model"]
    proto = import_protobuf().ModelProto()
    # 3 is a control piece, 2 the unknown piece.
    kinds = {"[PAD]": 3, "[CLS]": 3, "[SEP]": 3, "[UNK]": 2}
    for piece, score in unigram["vocab"]:
        proto.pieces.add(piece=piece, score=score, type=kinds.get(piece, 1))
    proto.trainer_spec.unk_id = 3
    (folder / "spm.model").write_bytes(proto.SerializeToString())
    (folder / "tokenizer.json").unlink()
    return folder


def test_a_deberta_with_sentencepiece_only_scores_the_same(tmp_path: Path) -> None:
    folder = save_judge("deberta_v2", tmp_path / "judge", ORDERS[1])
    expected = judge_from(folder).score(PREMISES, HYPOTHESES).log_probs
    scores = judge_from(without_tokenizer_json(folder)).score(PREMISES, HYPOTHESES).log_probs
    torch.testing.assert_close(scores, expected)


def test_a_tokenizer_that_cannot_be_converted_names_its_needs(tmp_path: Path) -> None:
    folder = without_tokenizer_json(save_judge("deberta_v2", tmp_path / "judge", ORDERS[0]))
    (folder / "spm.model").write_bytes(b"no sentencepiece model")
    with pytest.raises(
        UserError, match=r"no tokenizer.json.*pip install sentencepiece protobuf"
    ) as caught:
        judge_from(folder)
    assert "\n" not in str(caught.value)
