"""The flow head: zero at the start, one number per state, trained beside the adapter."""

from __future__ import annotations

import torch
from torch.nn import functional

from contraflow.policy.constraints import question_constraints
from contraflow.policy.flow import FlowHead, StateFlow
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import task_prompt
from support.models import fresh_lm


def test_starts_at_zero_everywhere_and_can_leave_it():
    head = FlowHead(8, width=4)
    hidden = torch.randn(3, 5, 8)
    assert head(hidden).shape == (3, 5)
    assert not head(hidden).any()
    head(hidden).sum().backward()
    assert head.outer.weight.grad is not None and bool(head.outer.weight.grad.any())


def test_is_the_two_layers_it_says():
    head = FlowHead(8, width=4)
    torch.nn.init.normal_(head.outer.weight)
    hidden = torch.randn(2, 8)
    normed = (hidden - hidden.mean(-1, keepdim=True)) / (
        hidden.var(-1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    expected = (
        functional.gelu(normed @ head.inner.weight.T + head.inner.bias) @ head.outer.weight[0]
    )
    torch.testing.assert_close(head(hidden), expected)


def test_half_precision_states_give_float32_flows():
    assert FlowHead(8)(torch.randn(2, 8).bfloat16()).dtype == torch.float32


def test_log_z_is_read_at_the_end_of_the_prompt():
    flow, hidden = StateFlow(8, width=4), torch.randn(3, 8)
    for head in (flow.log_z, flow.inner):
        torch.nn.init.normal_(head.outer.weight)
    found = flow(hidden, torch.tensor([0, 2, 0]))
    torch.testing.assert_close(found[[0, 2]], flow.log_z(hidden)[[0, 2]])
    torch.testing.assert_close(found[1], flow.inner(hidden)[1])
    found[1].backward()
    assert not any(p.grad is not None and bool(p.grad.any()) for p in flow.log_z.parameters())


def test_flow_of_a_policy_stays_on_when_the_adapter_is_off(two_facts):
    """In `modules_to_save` PEFT would switch the head to its untrained copy."""
    lm = fresh_lm()
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=3)
    policy = LoraPolicy(lm, task_prompt("fact : {edit_fact}\nask :"), constraints, LoraConfig(r=2))
    with torch.no_grad():
        policy.flow.log_z.outer.bias.fill_(3.0)
        policy.flow.inner.outer.bias.fill_(2.0)
    question = stack_questions([[3, 4]], torch.device("cpu"))
    for paths in (
        policy.evaluate(two_facts, torch.tensor([0]), question),
        policy.prior(two_facts, torch.tensor([0]), question),
    ):
        assert paths.log_flow.tolist() == [[3.0, 2.0, 2.0]]
