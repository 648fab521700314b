"""Batches by facts, and put together again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contraflow.actors.groups import merge, split
from contraflow.distributed.messages import decode, encode
from contraflow.experience.collect import Batch
from contraflow.facts import Fact
from support.actors import question

A, B = (Fact(fact_id=x, subject="s", edit_fact=f"s is {x}") for x in "ab")
ROWS = (question(A, (1,)), question(A, (2,)), question(B, (3,)))
BATCH = Batch((A, B), ROWS, (2, 1, 3), 1.5, 0, "cuda:1")


def test_a_split_batch_is_merged_to_itself_on_another_device():
    parts = split(BATCH)
    assert [part.facts for part in parts] == [(A,), (B,)]
    assert [part.counts for part in parts] == [(2, 1), (3,)]
    assert merge(parts, "cpu") == replace(BATCH, device="cpu")


def test_weights_stay_with_their_questions():
    weighted = replace(BATCH, weights=(0.5, 0.25, 0.125), weighs_loss=True, prior_share=0.5)
    assert [part.weights for part in split(weighted)] == [(0.5, 0.25), (0.125,)]
    assert merge(split(weighted), "cpu") == replace(weighted, device="cpu")


def test_questions_without_weights_weigh_their_counts_beside_others():
    weighted, plain = split(replace(BATCH, weights=(0.5, 0.25, 0.125)))
    merged = merge([weighted, replace(plain, weights=None)], "cpu")
    assert merged.weights == (0.5, 0.25, 3.0)


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
    assert decode(encode(weighted), Batch) == weighted
