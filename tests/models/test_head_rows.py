"""The copy of a head with zero rows behind it computes what the head computes.

A CPU has no use for the zero rows; `ALIGNED_ON` is changed so that it gets them.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from contraflow.models import head_rows as file
from contraflow.models.attention.architecture import LogitTransform
from contraflow.models.causal_lm import CausalLM
from contraflow.models.head_rows import HeadRows, profits
from contraflow.models.weights.weight_states import with_tensors
from contraflow.policy.action_log_probs import ActionHead, action_log_probs
from contraflow.policy.constraints import Constraints
from contraflow.policy.states import Actions
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import answer_prompt
from support.decoding import N_TOKENS, PROMPTS, both
from support.models import fresh_lm

ODD, EVEN = 19, 16
QUESTIONS = ["who wrote hamlet ?", "what is the capital of rome ?", "who is in rome ?"]


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "ALIGNED_ON", ("cpu",))


def lm_with_bias(transform: LogitTransform | None = None) -> CausalLM:
    """A model whose frozen head has 19 rows and a bias."""
    lm = fresh_lm()
    old = lm.head
    new = nn.Linear(old.in_features, old.out_features)
    new.weight = old.weight
    lm.model.set_output_embeddings(new)  # type: ignore[operator]
    lm.model.requires_grad_(False)
    if transform is not None:
        lm._transform = transform
    return lm


def copy_of(lm: CausalLM, ids: torch.Tensor | None) -> HeadRows | None:
    return lm.copied_head() if ids is None else lm.head_rows(ids)


@pytest.mark.parametrize("n", [1, ODD - 2, EVEN])
@pytest.mark.parametrize("transform", [None, LogitTransform(0.25, 3.0)])
@pytest.mark.usefixtures("aligned")
def test_zero_rows_leave_logits_of_actions_as_they_are(n, transform):
    lm = lm_with_bias(transform)
    hidden = torch.randn(5, 3, 32, requires_grad=True)
    ids = torch.randperm(ODD)[:n]
    found = lm.logits(hidden, ids)
    plain = lm._transform(lm.head(hidden)[..., ids])
    assert len(lm.head_rows(ids).padded) == 64
    torch.testing.assert_close(found, plain)
    weights = torch.randn(5, 3, n)
    ours, theirs = (torch.autograd.grad((weights * x).sum(), hidden)[0] for x in (found, plain))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("aligned")
def test_a_whole_head_of_odd_size_gets_zero_rows():
    lm = lm_with_bias()
    hidden = torch.randn(4, 32, requires_grad=True)
    found = lm.logits(hidden)
    copied = lm.copied_head()
    assert copied is not None and copied.padded.shape == (64, 32)
    assert found.shape == (4, ODD)
    torch.testing.assert_close(found, lm.head(hidden))
    weights = torch.randn(4, ODD)
    ours, theirs = (
        torch.autograd.grad((weights * x).sum(), hidden)[0] for x in (found, lm.head(hidden))
    )
    torch.testing.assert_close(ours, theirs)


def test_a_cpu_gets_no_zero_rows():
    lm = lm_with_bias()
    assert lm.copied_head() is None
    assert lm.head_rows(torch.arange(3)).padded.shape == (3, 32)


@pytest.mark.usefixtures("aligned")
def test_heads_that_are_more_than_a_product_stay():
    """Of an aligned size, differentiated, hooked, of another class, or with a changed forward."""
    frozen = nn.Linear(4, ODD).requires_grad_(False)
    assert profits(frozen)
    assert not profits(nn.Linear(4, EVEN).requires_grad_(False))
    assert not profits(nn.Linear(4, ODD))
    with torch.no_grad():
        assert profits(nn.Linear(4, ODD))
    hooked = copy.deepcopy(frozen)
    hooked.register_forward_hook(lambda *_: None)
    assert not profits(hooked)
    changed = copy.deepcopy(frozen)
    changed.forward = lambda x: x  # type: ignore[method-assign]
    assert not profits(changed)

    class Other(nn.Linear):
        pass

    assert not profits(Other(4, ODD).requires_grad_(False))


@pytest.mark.parametrize("ids", [None, torch.tensor([4, 0, 2])])
@pytest.mark.usefixtures("aligned")
def test_an_edit_in_place_is_copied_to_the_same_address(ids):
    """A recording reads the address, so it sees the edit, too."""
    lm = lm_with_bias()
    hidden = torch.randn(2, 32)
    lm.logits(hidden, ids)
    before = copy_of(lm, ids)
    with torch.no_grad():
        lm.head.weight.mul_(2.0)
        lm.head.bias.add_(1.0)
    assert copy_of(lm, ids) is before is not None
    expected = lm.head(hidden) if ids is None else lm.head(hidden)[:, ids]
    torch.testing.assert_close(lm.logits(hidden, ids), expected)


@pytest.mark.parametrize("ids", [None, torch.tensor([4, 0, 2])])
@pytest.mark.usefixtures("aligned")
def test_a_head_with_other_weights_is_copied_anew(ids):
    """Also where memory is used again: other weights must not be taken for those before."""
    lm = lm_with_bias()
    hidden = torch.randn(2, 32)
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        other = torch.randn(ODD, 32, generator=rng)
        with with_tensors([(lm.head.weight, other)])():
            expected = lm.head(hidden) if ids is None else lm.head(hidden)[:, ids]
            torch.testing.assert_close(lm.logits(hidden, ids), expected)
        del other
    plain = lm.head(hidden) if ids is None else lm.head(hidden)[:, ids]
    torch.testing.assert_close(lm.logits(hidden, ids), plain)


@pytest.mark.usefixtures("aligned")
def test_a_head_that_is_replaced_is_copied_anew():
    lm = lm_with_bias()
    hidden = torch.randn(2, 32)
    lm.logits(hidden)
    lm.model.set_output_embeddings(  # type: ignore[operator]
        nn.Linear(32, ODD, bias=False).requires_grad_(False)
    )
    torch.testing.assert_close(lm.logits(hidden), lm.head(hidden))


@pytest.mark.parametrize("n", [ODD - 2, EVEN])
@pytest.mark.parametrize("transform", [None, LogitTransform(0.25, 3.0)])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_zero_rows_leave_log_probs_and_gradients(monkeypatch, n, transform, temperature):
    """Stop and actions taken; the copies that a CPU would use are the reference."""
    g = torch_rng(0, "head rows")
    step = torch.randint(0, 4, (40,), generator=g)
    where = torch.nonzero(step < 4).squeeze(1)
    column = torch.randint(0, n - 1, (len(where),), generator=g)
    start = torch.randn(40, 32, generator=g)
    weights = torch.randn(len(where), generator=g)
    found = []
    for devices in (("cpu",), ()):
        monkeypatch.setattr(file, "ALIGNED_ON", devices)
        constraints = Constraints(torch.arange(n), 2, 4)
        head = ActionHead.of(lm_with_bias(transform), constraints.action_ids, temperature)
        hidden = start.clone().requires_grad_()
        actions = Actions(where, column, where.numpy())
        taken, stop = action_log_probs(hidden, head, constraints, step, actions)
        ((weights * taken).sum() + stop[step >= 2].square().sum()).backward()
        found.append((taken.detach(), stop.detach(), hidden.grad))
        assert head.padded is not None and len(head.padded) == (64 if devices else n)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("decoding", ["eager", "static"])
def test_zero_rows_are_no_tokens_of_an_answer(monkeypatch, decoding):
    """The oracle uses the whole head, without gradients; a static step records its copy."""
    found = []
    for devices in ((), ("cpu",)):
        monkeypatch.setattr(file, "ALIGNED_ON", devices)
        lm = fresh_lm()
        lm.decoding = decoding
        prompt = answer_prompt("ask : {question} fact :")
        answers = FrozenLMOracle(lm, prompt, OracleConfig(max_answer_tokens=6)).answer(QUESTIONS)
        found.append(answers)
        with torch.no_grad():
            assert (lm.copied_head() is not None) == bool(devices)
    for ours, theirs in zip(*found, strict=True):
        assert ours.text == theirs.text
        assert ours.log_p == pytest.approx(theirs.log_p, abs=1e-4)


@pytest.mark.usefixtures("aligned")
@torch.no_grad()
def test_a_static_step_reads_the_copy_with_zero_rows():
    lm = lm_with_bias()
    eager, static, made = both(lm)
    row = torch.tensor([0, 1, 2])
    for token in range(3, 3 + N_TOKENS - 1):
        ids = torch.full((len(PROMPTS),), token)
        a, b = (decoder.advance(row, ids) for decoder in (eager, static))
        torch.testing.assert_close(static.logits()[b], eager.logits()[a], atol=1e-4, rtol=0)
    step = next(iter(made._steps.values()))
    assert step._head is lm.head_rows(step._actions)
    assert step._head.padded.shape == (64, 32) and step.logits.shape[1] == 16


@pytest.mark.usefixtures("aligned")
@torch.no_grad()
def test_a_step_that_is_loaded_again_sees_an_edit():
    """Another action set has taken the model's cache, so only the step holds its rows."""
    lm = lm_with_bias()
    _, static, made = both(lm)
    static.advance(torch.tensor([0]), torch.tensor([3]))
    step = next(iter(made._steps.values()))
    state = step.save(torch.tensor([0]), width=3)
    lm.head_rows(torch.arange(2))
    lm.head.weight.mul_(2.0)
    step.load(state)
    assert step._head is not None
    assert torch.equal(step._head.padded, HeadRows(lm.head, step._actions).padded)
