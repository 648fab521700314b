"""The rank-one edit against its formulas, on a tiny Llama."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from examples.edits.covariance import OwnText, covariance_of
from examples.edits.fine_tune import mlp_projection
from examples.edits.rank_one import (
    RankOne,
    Request,
    adding,
    rank_one_edit,
    rank_one_update,
    subject_end,
    subject_key,
    value_change,
)
from examples.edits.targets import encode_targets, target_log_probs
from support.models import tiny_model, word_tokenizer

REQUEST = Request("rome", "the capital of rome is", "hamlet")
TEXTS = ["the city is in rome", "who wrote the fact of hamlet", "ask what is the capital"]
SETTINGS = RankOne(layer=0, value_steps=60, lr=0.3, enough=0.3, max_growth=100.0)


def random_problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    keys = torch.randn(50, 6, generator=rng, dtype=torch.float64) * torch.arange(1, 7)
    weight = torch.randn(4, 6, generator=rng, dtype=torch.float64)
    return weight, keys[0], torch.randn(4, generator=rng, dtype=torch.float64), keys.T @ keys / 50


def test_the_update_adds_delta_at_the_key() -> None:
    weight, key, delta, covariance = random_problem()
    for ridge in (0.0, 0.1, 10.0):
        after = rank_one_update(weight, key, delta, covariance, ridge)
        torch.testing.assert_close(after @ key, weight @ key + delta)
        assert torch.linalg.matrix_rank(after - weight) == 1


def test_the_update_moves_other_inputs_least() -> None:
    """E‖ΔW k‖² = tr(ΔW C ΔWᵀ) is ‖δ‖² / (k*ᵀ C⁻¹ k*): no other ΔW with ΔW k* = δ has less."""
    weight, key, delta, covariance = random_problem()
    change = rank_one_update(weight, key, delta, covariance, 0.0) - weight
    least = delta @ delta / (key @ torch.linalg.solve(covariance, key))
    assert float(torch.trace(change @ covariance @ change.T)) == pytest.approx(float(least))
    other = torch.outer(delta, key) / (key @ key)
    assert torch.trace(other @ covariance @ other.T) > 1.05 * least


def test_the_key_is_the_mean_input_over_contexts() -> None:
    """W times the key is the mean output of the projection at the subject."""
    model = tiny_model("llama").requires_grad_(False)
    contexts = ["", "ask the fact : ", "who is in the city : "]
    outputs = []
    hook = mlp_projection(model, 0).register_forward_hook(lambda _m, _a, out: outputs.append(out))
    for context in contexts:
        model(torch.tensor([word_tokenizer()(context + REQUEST.prompt)["input_ids"]]))
    hook.remove()
    # "rome" is the fourth word of the prompt, behind 0, 4 and 6 words of context.
    mean = torch.stack([outputs[0][0, 3], outputs[1][0, 7], outputs[2][0, 9]]).mean(0)
    key = subject_key(model, word_tokenizer(), REQUEST, contexts, 0)
    torch.testing.assert_close(mlp_projection(model, 0).weight @ key, mean)


def test_the_subject_ends_at_its_last_mention() -> None:
    assert subject_end(word_tokenizer(), "rome is the city of rome in", "rome") == 5
    assert subject_end(word_tokenizer(), "the city of rome is in", "city of rome") == 3


def test_delta_is_added_at_one_position_within_the_block() -> None:
    model = tiny_model("llama").requires_grad_(False)
    ids = torch.tensor([[3, 4, 5, 6]])
    before = model(ids).logits
    with adding(model, 0, torch.tensor([2]), torch.full((32,), 0.5)):
        inside = model(ids).logits
    moved = (inside - before).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False, False, True, True]
    torch.testing.assert_close(model(ids).logits, before)


def test_the_edit_makes_the_answer_as_likely_as_its_value() -> None:
    """C is huge along the inputs of the prompt's other words, so only the subject's output moves,
    by δ.
    """
    model = tiny_model("llama").requires_grad_(False)
    tokenizer = word_tokenizer()
    inputs: list[torch.Tensor] = []
    hook = mlp_projection(model, 0).register_forward_pre_hook(lambda _m, a: inputs.append(a[0][0]))
    model(torch.tensor([tokenizer(REQUEST.prompt)["input_ids"]]))
    hook.remove()
    others = inputs[0][[0, 1, 2, 4]]
    covariance = 1e4 * others.T @ others + torch.eye(48)
    delta = value_change(model, tokenizer, REQUEST, [""], inputs[0][3], SETTINGS)
    batch = encode_targets(tokenizer, [REQUEST.prompt], [REQUEST.target])
    before = target_log_probs(model, batch).item()
    with adding(model, 0, torch.tensor([3]), delta), torch.no_grad():
        aimed = target_log_probs(model, batch).item()
    rank_one_edit(model, tokenizer, REQUEST, [""], covariance, replace(SETTINGS, ridge=0.0))
    assert aimed > before + 1.0
    assert target_log_probs(model, batch).item() == pytest.approx(aimed, abs=0.01)


def test_covariance_is_the_mean_over_all_but_first_tokens() -> None:
    model = tiny_model("llama").requires_grad_(False)
    total, count = torch.zeros(48, 48), 0
    for text in TEXTS:
        ids = word_tokenizer()(text)["input_ids"]
        for last in range(2, len(ids) + 1):
            seen: list[torch.Tensor] = []
            hook = mlp_projection(model, 0).register_forward_pre_hook(
                lambda _m, args, seen=seen: seen.append(args[0])
            )
            model(torch.tensor([ids[:last]]))
            hook.remove()
            total += torch.outer(seen[0][0, -1], seen[0][0, -1])
            count += 1
    found = covariance_of(model, word_tokenizer(), 0, TEXTS)
    torch.testing.assert_close(found, total / count, atol=1e-5, rtol=1e-4)


def test_contexts_begin_with_the_plain_prompt() -> None:
    text = OwnText(("One two three.", "Four five six seven"), torch.eye(1))
    assert text.contexts(3, n_words=3) == ["", "One two three. ", "Four five six. "]
