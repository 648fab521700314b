"""Imported questions get the token ids that the sampler would have written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from contraflow.errors import UserError
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.run.import_questions import (
    ImportedQuestion,
    _scores_hold,
    _with_its_scores,
    read_questions,
    token_ids,
)
from contraflow.text.prompts import task_prompt
from contraflow.types import ScoredQuestion
from support.facts import FACTS
from support.models import tiny_model

BOUNDARY = "Ġ"  # byte-level tokenizers write a leading space so
VOCABULARY = {
    "<pad>": 0,
    "?": 1,
    "who": 2,
    f"{BOUNDARY}who": 3,
    f"{BOUNDARY}sings": 4,
    f"{BOUNDARY}si": 5,
    "ngs": 6,
    "<unk>": 7,
    f"{BOUNDARY}zebra": 8,
}


def byte_level_policy(prompt: str) -> LoraPolicy:
    """Return a policy whose tokenizer, like real ones, keeps ` who` and `who` apart.

    Its model is not used.
    """
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    lm = CausalLM(tiny_model("llama"), fast, identity="byte-level")
    return LoraPolicy(
        lm, task_prompt(prompt), Constraints(torch.tensor([2, 3, 4, 5, 6, 1]), 2, 3), None
    )


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [("{edit_fact} Question:", (3, 4)), ("{edit_fact}\nassistant\n", (2, 4))],
    ids=["ends in a word", "ends in a line break, as a chat does"],
)
def test_the_first_word_is_spelt_as_it_follows_the_prompt(
    prompt: str, ids: tuple[int, ...]
) -> None:
    assert token_ids("who sings?", byte_level_policy(prompt)) == ids


def test_what_the_sampler_cannot_write_is_reported() -> None:
    policy = byte_level_policy("{edit_fact} Question:")
    assert "outside of policy.vocabulary" in token_ids("who zebra?", policy)
    assert "has 1 tokens" in token_ids("who?", policy)


def brought(ids: tuple[int, ...], question: str) -> ImportedQuestion:
    scored = ScoredQuestion(
        fact_id="a",
        question_ids=ids,
        question=question,
        answer="x",
        log_contradiction=-1.0,
        log_p_answer=-1.0,
        log_prior=(-1.0,) * (len(ids) + 1),
    )
    return ImportedQuestion(
        "q.jsonl:1", FACTS[0], question, {**msgspec.to_builtins(scored), "namespace": "n"}
    )


def test_an_exported_question_keeps_its_token_ids() -> None:
    policy = byte_level_policy("{edit_fact} Question:")
    assert token_ids("who sings?", policy) == (3, 4)
    assert _with_its_scores(brought((3, 5, 6), "who sings?"), policy).question_ids == (3, 5, 6)


def test_a_question_names_its_fact_by_id_or_by_key(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [{"question": "who sings?", "fact_id": name} for name in ("a", FACTS[0].key)]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    assert [question.fact for question in read_questions(path, FACTS)] == [FACTS[0]] * 2
    corrected = msgspec.structs.replace(FACTS[0], aliases=("x",))
    with pytest.raises(UserError, match=rf"q\.jsonl:2: no fact has the fact_id '{FACTS[0].key}'"):
        read_questions(path, [corrected])


@pytest.mark.parametrize(
    ("change", "hold"),
    [
        ({}, True),
        ({"namespace": "n-other0weights"}, True),  # raw parts do not depend on reward weights
        ({"namespace": "n"}, True),  # a run whose namespace is older than these
        ({"namespace": "m-12345678"}, False),
        ({"namespace": None}, False),
        ({"fact_hash": "0" * 16}, False),  # the fact was corrected since
        ({"fact_hash": ""}, False),  # an older version did not say how the fact was
    ],
)
def test_scores_hold_for_the_same_models_and_fact(change: dict[str, object], hold: bool) -> None:
    question = brought((3, 4), "who sings?")
    row = {"namespace": "n-12345678", "fact_hash": FACTS[0].content_hash} | change
    assert _scores_hold(replace(question, row=question.row | row), "n") == hold


def test_scores_of_another_question_are_refused() -> None:
    policy = byte_level_policy("{edit_fact} Question:")
    for ids in ((3, 4, 4), (3, 8)):  # another text; a token that is no action
        with pytest.raises(
            UserError, match=r"q\.jsonl:1: question_ids are not those of the question"
        ):
            _with_its_scores(brought(ids, "who sings?"), policy)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf\n"])
def test_an_empty_file_asks_for_questions(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"empty\.jsonl: is empty; write one object .* question"):
        read_questions(path, FACTS)
