"""Batches by facts, and put together again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from contraflow.actors.groups import merge, split
from contraflow.distributed.messages import decode, encode
from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch
from contraflow.facts import Fact
from contraflow.gflownet.objectives import Potentials, VarGrad
from support.actors import question

A, B = (Fact(fact_id=x, subject="s", edit_fact=f"s is {x}") for x in "ab")
ROWS = (question(A, (1,)), question(A, (2,)), question(B, (3,)))
BATCH = DrawnBatch((A, B), ROWS, (2, 1, 3), 1.5, 0, "cuda:1")


def test_a_split_batch_is_merged_to_itself_on_another_device():
    parts = split(BATCH)
    assert [part.facts for part in parts] == [(A,), (B,)]
    assert [part.counts for part in parts] == [(2, 1), (3,)]
    assert merge(parts, "cpu") == replace(BATCH, device="cpu")


def test_weights_stay_with_their_questions():
    weighted = replace(BATCH, weights=(0.5, 0.25, 0.125), weighs_loss=True, prior_share=0.5)
    assert [part.weights for part in split(weighted)] == [(0.5, 0.25), (0.125,)]
    assert merge(split(weighted), "cpu") == replace(weighted, device="cpu")


def test_questions_without_weights_have_their_share_of_draws():
    """B was drawn three times, always the same question: its share is 3/3."""
    weighted, plain = split(replace(BATCH, weights=(0.5, 0.25, 0.125)))
    merged = merge([weighted, replace(plain, weights=None)], "cpu")
    assert merged.weights == (0.5, 0.25, 1.0)
    merged = merge([plain, replace(weighted, weights=None)], "cpu")
    assert merged.weights == (0.125, 2 / 3, 1 / 3)


def test_a_fact_weighs_the_same_from_two_batches_or_from_replay():
    """Two draws and four stored questions of one spread: VarGrad costs the same with any."""
    rows = tuple(question(A, (i,)) for i in range(4))
    drawn = DrawnBatch((A,), rows[:2], (1, 1), 1.0, 0, "cpu", (0.5, 0.5), weighs_loss=True)
    stored = Batch((A,), rows, (1,) * 4, 1.0, 4, "cpu")
    spread = torch.tensor([1.0, -1.0])
    for parts in ([drawn], [drawn, drawn], [drawn, stored]):
        merged = merge(parts, "cpu")
        n = len(merged.scored)
        values = spread.repeat(n // 2)[:, None]
        u = Potentials(values, values, values != 0, torch.zeros(n, dtype=torch.long))
        assert VarGrad()(u, merged.fact_index, merged.loss_weight) == pytest.approx(1.0)


def test_densities_stay_with_their_questions():
    drawn = replace(BATCH, log_q=(-1.0, -2.0, -3.0))
    assert [part.log_q for part in split(drawn)] == [(-1.0, -2.0), (-3.0,)]
    assert merge(split(drawn), "cpu") == replace(drawn, device="cpu")
    stored = Batch((B,), ROWS[2:], (1,), 1.0, 1, "cpu")
    assert merge([split(drawn)[0], stored], "cpu").log_q == (-1.0, -2.0, None)
    assert merge([stored], "cpu").log_q == (None,)  # a batch of replay alone
    assert merge([*split(BATCH), stored], "cpu").log_q == ()  # actors that send none
    assert decode(encode(drawn), DrawnBatch) == drawn


def test_numbers_of_batches_become_means_over_questions():
    fresh, replayed = split(BATCH)
    merged = merge([fresh, replace(replayed, pf_temp=1.0, n_replayed=1)], "cpu")
    assert merged.pf_temp == pytest.approx((1.5 + 1.5 + 1.0) / 3)
    assert merged.n_replayed == 1


def test_one_fact_of_two_batches_is_one_fact():
    merged = merge([split(BATCH)[0], split(BATCH)[0]], "cpu")
    assert merged.facts == (A,) and merged.owners == (0, 0, 0, 0)


def test_a_batch_travels_as_typed_bytes():
    weighted = replace(BATCH, weights=(0.5, 0.25, 0.125))
    assert decode(encode(weighted), DrawnBatch) == weighted
