"""Prefixes, KV caches, dropped rows and left padding against a plain forward of the sequence."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from contraflow.models.causal_lm import CausalLM
from contraflow.models.token_tree import TokenTree
from support.models import ARCHITECTURES, fresh_lm, tiny_model

HEADER = "fact : the capital of rome\n"
PROMPTS = [[3, 6, 7], [5, 6, 11, 12, 10, 13], [4]]  # unequal, so that left padding matters
DEVICE = torch.device("cpu")


@pytest.fixture(params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest) -> tuple[CausalLM, torch.nn.Module]:
    """Return our wrapper, and the same weights in the eager attention of transformers."""
    plain = tiny_model(request.param)
    plain.set_attn_implementation("eager")
    return fresh_lm(request.param), plain


def plain_hidden(model: torch.nn.Module, ids: list[int]) -> Tensor:
    """Return the last hidden states of one unpadded sequence without a cache."""
    out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return out.hidden_states[-1][0]


def test_reading_after_a_prefix_equals_the_whole_sequence(pair):
    lm, plain = pair
    header = lm.encode(HEADER, first=True)
    context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(
            context.last_hidden[row], plain_hidden(plain, header + prompt)[-1], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("header", ["", HEADER])
def test_tokens_after_padded_prompts_equal_the_whole_sequence(pair, header: str):
    lm, plain = pair
    start = lm.encode(header, first=True)
    prompts = lm.prefill(lm.prefix_cache(header), PROMPTS)
    context = prompts.for_decoding(torch.arange(3), 3)
    new = torch.tensor([[3, 4, 5], [6, 7, 8], [9, 10, 11]])
    hidden = lm.hidden(new[:, :2], context)
    last = lm.hidden(new[:, 2:], context)
    for row, prompt in enumerate(PROMPTS):
        expected = plain_hidden(plain, start + prompt + new[row].tolist())[-3:]
        torch.testing.assert_close(hidden[row], expected[:2], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(last[row], expected[2:], atol=1e-5, rtol=1e-4)


def test_every_logit_is_the_models_own(pair):
    lm, plain = pair
    hidden = plain_hidden(plain, PROMPTS[1])
    expected = plain(torch.tensor([PROMPTS[1]])).logits[0]
    torch.testing.assert_close(lm.logits(hidden), expected)
    rows = torch.tensor([5, 2, 9])
    torch.testing.assert_close(lm.logits(hidden, rows), expected[:, rows])


def test_action_logits_follow_a_new_action_set():
    """The reduced head is cached per action set; a freed set may leave its `id()` to another."""
    lm = fresh_lm()
    hidden = torch.randn(2, 32)
    for start in range(8):
        rows = torch.arange(start, start + 4)
        torch.testing.assert_close(lm.logits(hidden, rows), lm.logits(hidden)[:, rows])
        del rows


def test_decoding_in_place_equals_recomputing_each_prefix(pair):
    """Greedy steps in the preallocated cache, against a full forward of every longer sequence."""
    lm, plain = pair
    header = lm.encode(HEADER, first=True)
    index = torch.tensor([1, 0, 1, 2])  # rows repeated and out of order
    with torch.no_grad():
        context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS).for_decoding(index, 5)
        written: list[list[int]] = [[] for _ in index]
        for _ in range(5):
            token = lm.logits(context.last_hidden).argmax(-1)
            for row, prompt in enumerate(index.tolist()):
                expected = plain_hidden(plain, header + PROMPTS[prompt] + written[row])[-1]
                torch.testing.assert_close(context.last_hidden[row], expected, atol=1e-5, rtol=1e-4)
                written[row].append(int(token[row]))
            context.last_hidden = lm.hidden(token[:, None], context)[:, -1]


def test_dropping_rows_leaves_the_others_as_they_were(pair):
    lm, _ = pair
    tokens = torch.tensor([[3, 9], [4, 10], [5, 11]])
    with torch.no_grad():
        whole = lm.prefill(lm.prefix_cache(HEADER), PROMPTS).for_decoding(torch.arange(3), 2)
        cut = lm.prefill(lm.prefix_cache(HEADER), PROMPTS).for_decoding(torch.arange(3), 2)
        lm.hidden(tokens[:, :1], whole)
        lm.hidden(tokens[:, :1], cut)
        rows = torch.tensor([2, 0])
        cut.keep(rows)
        expected = lm.hidden(tokens[:, 1:], whole)[rows]
        torch.testing.assert_close(lm.hidden(tokens[rows, 1:], cut), expected, atol=1e-6, rtol=1e-5)


def test_decoding_writes_nothing_into_the_context_it_came_from(pair):
    lm, _ = pair
    with torch.no_grad():
        context = lm.prefill(lm.prefix_cache(HEADER), PROMPTS)
        before = [layer.keys.clone() for layer in context.cache.layers]
        decoding = context.for_decoding(torch.tensor([0, 0, 1]), 3)
        lm.hidden(torch.tensor([[3], [4], [5]]), decoding)
        assert context.mask.shape == (3, 6)
        for layer, keys in zip(context.cache.layers, before, strict=True):
            assert torch.equal(layer.keys, keys)


def with_adapter(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Put a non-zero adapter on every attention projection; return its parameters in order."""
    generator = torch.Generator().manual_seed(1)
    targets = ("c_attn", "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "query_key_value")
    get_peft_model(model, LoraConfig(r=3, target_modules=list(targets), task_type="CAUSAL_LM"))
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for p in trained:
            p.normal_(0, 0.2, generator=generator)
    return trained


def test_gradients_through_a_tree_equal_plain_attention(pair):
    """Without a header: it is read with the adapter off, so plain attention would differ."""
    lm, plain = pair
    ours, theirs = with_adapter(lm.model), with_adapter(plain)
    new = torch.tensor([[3, 4], [6, 7], [9, 10]])
    tree = TokenTree.of([p + new[row].tolist() for row, p in enumerate(PROMPTS)])
    ends = torch.cat([tree.last, tree.paths.gather(1, tree.lengths[:, None] - 2).squeeze(1)])
    loss = lm.logits(lm.tree_hidden(lm.prefix_cache(""), tree)[ends]).log_softmax(-1)[..., 5].sum()
    expected = sum(
        plain(torch.tensor([p + new[row].tolist()])).logits[0, -2:].log_softmax(-1)[:, 5].sum()
        for row, p in enumerate(PROMPTS)
    )
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    for a, b in zip(
        torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs), strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_gradients_after_a_shared_prefix_equal_plain_attention(pair):
    """The reference: the header's keys in a stock cache per row, eager attention over them."""
    from transformers import DynamicCache

    lm, plain = pair
    prefix = lm.prefix_cache(HEADER)  # before any adapter, so that off and on are equal
    header = lm.encode(HEADER, first=True)
    stock = DynamicCache()
    with torch.no_grad():
        plain(torch.tensor([header]), past_key_values=stock, use_cache=True)
    keys = [(layer.keys.detach(), layer.values.detach()) for layer in stock.layers]
    ours, theirs = with_adapter(lm.model), with_adapter(plain)

    context = lm.prefill(prefix, PROMPTS)
    loss = lm.logits(context.last_hidden).log_softmax(-1)[:, 5].sum()
    expected = torch.zeros(())
    for prompt in PROMPTS:
        cache = DynamicCache()
        for number, (k, v) in enumerate(keys):
            cache.update(k, v, number)
        expected = (
            expected
            + plain(torch.tensor([prompt]), past_key_values=cache).logits[0, -1].log_softmax(-1)[5]
        )
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    for a, b in zip(
        torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs), strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_a_prefix_ends_with_its_block_even_after_an_error(pair):
    """A prefix left active would be attended to by the next forward pass."""
    lm, plain = pair
    prefix = lm.prefix_cache(HEADER)
    with pytest.raises(Exception):  # noqa: B017  (whatever the backbone says of an impossible id)
        lm.prefill(prefix, [[10_000]])
    torch.testing.assert_close(
        lm.prefill(lm.prefix_cache(""), [PROMPTS[0]]).last_hidden[0],
        plain_hidden(plain, PROMPTS[0])[-1],
        atol=1e-5,
        rtol=1e-4,
    )


def test_frozen_switches_the_adapter_off_and_back():
    from contraflow.policy.constraints import question_constraints
    from contraflow.policy.lora import LoraPolicy
    from contraflow.settings.models import LoraConfig
    from contraflow.text.prompts import task_prompt

    lm = fresh_lm()
    base = lm.prefill(lm.prefix_cache(""), PROMPTS).last_hidden.detach()
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=2)
    LoraPolicy(lm, task_prompt("ask {subject}"), constraints, LoraConfig(r=2))
    trained = [p for p in lm.model.parameters() if p.requires_grad]
    with torch.no_grad():
        for p in trained:
            p.fill_(0.1)
    read = lambda: lm.prefill(lm.prefix_cache(""), PROMPTS).last_hidden  # noqa: E731
    adapted = read()
    assert not torch.allclose(adapted, base)
    with pytest.raises(RuntimeError, match="inside"), lm.frozen():
        torch.testing.assert_close(read(), base)
        with lm.frozen():
            torch.testing.assert_close(read(), base)
        assert torch.allclose(read(), base), "the inner block switched the adapter on again"
        assert not read().requires_grad
        raise RuntimeError("inside")
    assert torch.equal(read(), adapted)
    assert all(p.requires_grad for p in trained)
    assert read().requires_grad


def test_a_leading_special_token_only_opens_the_first_text():
    lm = fresh_lm()
    tokenizer = lm.tokenizer
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<pad> $A", special_tokens=[("<pad>", 0)]
    )
    assert lm.encode("who is", first=True) == [0, 3, 6]
    assert lm.encode("who is") == [3, 6]


def test_positions_and_device_are_the_models():
    for architecture in ("gpt2", "llama"):
        lm = fresh_lm(architecture)
        assert (lm.max_positions, lm.hidden_size, lm.device) == (64, 32, DEVICE)


def test_a_header_is_cut_as_in_the_whole_prompt():
    """A byte-level tokenizer merges the header's last line breaks, but not before another line.

    Cut elsewhere, the oracle's examples would be followed by a token boundary that no few-shot text
    has.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate(["<pad>", "Ċ", "ĊĊ", "Q", ":", "a"])}
    tokenizer = Tokenizer(models.BPE(words, [("Ċ", "Ċ")], unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    lm = fresh_lm("llama")
    lm.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<pad>"
    )
    whole, alone = lm.encode("Q:a\n\nQ:"), lm.encode("Q:a\n\n")
    assert (whole, alone) == ([3, 4, 5, 1, 1, 3, 4], [3, 4, 5, 2]), "the tokenizer does join them"
    assert lm.prefix_cache("Q:a\n\n", "Q:").length == 5
    assert lm.prefix_cache("Q:a\n\n").length == 4
    assert lm.prefix_cache("Q:a\n\n", "").length == 4
