"""Every assumption about single tokens, on each kind of tokenizer, with and without BOS and EOS."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints, question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.text.prompts import answer_prompt, task_prompt
from support.tokenizers import BYTES, KINDS, tokenizer_of_kind

SENTENCEPIECE = ("sentencepiece_legacy", "sentencepiece")


def actions(tokenizer: PreTrainedTokenizerFast) -> Constraints:
    return question_constraints(tokenizer, vocabulary="latin", min_len=1, max_len=12)


def action_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    ids = actions(tokenizer).action_ids[:-1].tolist()
    return list(tokenizer.convert_ids_to_tokens(ids))


def lm_of(kind: str, **special: str) -> CausalLM:
    tokenizer = tokenizer_of_kind(kind, **special)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return CausalLM(LlamaForCausalLM(config).eval(), tokenizer, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stop_is_the_mark_that_ends_a_question(kind: str):
    """Llama 2 encodes a lone "?" as ▁?, and "Hamlet?" ends in another token."""
    tokenizer = tokenizer_of_kind(kind)
    for question in ("Who wrote Hamlet?", "Is it in Rome?"):
        ids = tokenizer(question, add_special_tokens=False)["input_ids"]
        assert ids[-1] == actions(tokenizer).stop_id
    assert tokenizer.convert_ids_to_tokens(actions(tokenizer).stop_id) == "?"


@pytest.mark.parametrize("kind", KINDS)
def test_no_action_spells_another_mark_or_a_line_break(kind: str):
    tokenizer = tokenizer_of_kind(kind)
    before = tokenizer("Hamlet", add_special_tokens=False)["input_ids"]
    for i in actions(tokenizer).action_ids[:-1].tolist():
        text = tokenizer.decode([*before, i])
        assert not set(text) & set("?\n\r"), tokenizer.convert_ids_to_tokens(i)
    banned = {"?", "??", "▁?", " ?", "Ġ?", "##?", "\n", "Ċ", "<0x0A>", "<0x0D>", "<0x3F>"}
    assert not banned & set(action_tokens(tokenizer))


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_of_a_question_can_be_written(kind: str):
    """A year after a space begins with a lone ▁ in SentencePiece; WordPiece continues with ##."""
    tokenizer = tokenizer_of_kind(kind)
    ids = tokenizer("Who wrote Hamlet in 1912", add_special_tokens=False)["input_ids"]
    assert set(ids) <= set(actions(tokenizer).action_ids[:-1].tolist())


def test_bytes_that_are_no_sign_alone_are_no_actions():
    """A lone byte of a longer sign decodes to U+FFFD; ASCII bytes are a second spelling."""
    found = set(action_tokens(tokenizer_of_kind("sentencepiece"))) & set(BYTES)
    assert found == {f"<0x{byte:02X}>" for byte in range(32, 127)} - {"<0x3F>"}


@pytest.mark.parametrize("named", [{}, {"unk_token": "<unk>"}, {"eos_token": "</s>"}])
def test_special_tokens_are_no_actions_named_or_not(named: dict[str, str]):
    """SmolLM2 has <repo_name> and others that are special and have no role."""
    tokenizer = tokenizer_of_kind("sentencepiece", **named)
    tokenizer.add_special_tokens({"additional_special_tokens": ["Rome"]})
    assert "Rome" not in action_tokens(tokenizer)
    assert not {*named.values()} & set(action_tokens(tokenizer))


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_in_parts_has_the_tokens_of_the_whole(kind: str):
    """SentencePiece puts a space before every text, also before the rest of one."""
    lm = lm_of(kind)
    header, body = "Rome\n", "Who wrote Hamlet"
    whole = lm.encode(header + body, first=True)
    assert lm.encode(header, first=True) + lm.encode(body) == whole
    assert lm.header_ids(header, body) == lm.encode(header, first=True)
    assert lm.encode(body) + lm.encode(" in") == lm.encode(f"{body} in")


@pytest.mark.parametrize("special", [{}, {"bos_token": "<s>", "eos_token": "</s>"}])
@pytest.mark.parametrize("kind", KINDS)
def test_sampler_and_oracle_work_with_every_kind(kind: str, special: dict[str, str], two_facts):
    """Also without BOS, pad or EOS: an answer then ends at a line break or at its length."""
    if kind not in SENTENCEPIECE and special:
        pytest.skip("the vocabulary has no <s>")
    lm = lm_of(kind, **special)
    oracle = FrozenLMOracle(lm, answer_prompt("Rome\n{question}\n"))
    line_break = {"byte_level": "Ċ"}.get(kind, "<0x0A>" if kind in SENTENCEPIECE else "\n")
    assert lm.tokenizer.convert_tokens_to_ids(line_break) in oracle._ends.tolist()
    assert len(oracle.answer(["Who wrote Hamlet?"])) == 1
    policy = LoraPolicy(lm, task_prompt("Rome\n{subject}\n"), actions(lm.tokenizer), None)
    questions = policy.sample(two_facts, 8, torch.Generator().manual_seed(0))
    for text in policy.texts(questions):
        assert text.count("?") == 1 and text.endswith("?") and "\n" not in text
    paths = policy.evaluate(two_facts, torch.arange(2).repeat_interleave(8), questions)
    assert bool(paths.log_p_question.isfinite().all())
