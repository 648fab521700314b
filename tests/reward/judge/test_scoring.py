"""Batches of pairs: places, repeats, padding, and shapes that are recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, DebertaV2Config, DebertaV2Model

from contraflow.models import recordings
from contraflow.models.capture import Recording
from contraflow.reward.judge import NliJudge, recorded
from contraflow.reward.judge.recorded import RecordedNetwork, remember_positions
from contraflow.reward.judge.scoring import Batch, PairScorer, Rounding
from support.models import word_tokenizer

WORDS = ["rome", "is", "the", "capital", "of", "hamlet", "in", "the", "city", "who", "wrote"]


class CountingNetwork:
    """Returns for each row its tokens, their sum, and 0, and keeps the shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: Batch) -> Tensor:
        self.shapes.append(tuple(batch["input_ids"].shape))
        n = batch["attention_mask"].sum(1)
        total = (batch["input_ids"] * batch["attention_mask"]).sum(1)
        return torch.stack([n, total, 0 * n], 1).float()


def scorer(network: CountingNetwork, batch_size: int, **options: Rounding) -> PairScorer:
    return PairScorer(network, word_tokenizer(), 64, batch_size, **options)


def texts(*n_words: int) -> list[str]:
    return [" ".join(WORDS[:n]) for n in n_words]


def test_rows_keep_their_places_through_length_buckets() -> None:
    """Premises of 4, 1, 7, … words, an answer of 2: batches of 2, the shortest pairs first."""
    lengths = (4, 1, 7, 2, 5, 3, 6)
    network = CountingNetwork()
    scores = scorer(network, 2)(texts(*lengths), texts(*[2] * 7))
    assert scores[:, 0].tolist() == [n + 2 for n in lengths]
    assert network.shapes == [(2, 4), (2, 6), (2, 8), (1, 9)]


def test_equal_pairs_are_read_once() -> None:
    network = CountingNetwork()
    premises, answers = texts(1, 2, 1, 1, 2), texts(3, 3, 3, 4, 3)
    scores = scorer(network, 8)(premises, answers)
    assert network.shapes == [(3, 5)]
    assert scores[:, 0].tolist() == [4, 5, 4, 5, 5]
    assert torch.equal(scores[0], scores[2]) and not torch.equal(scores[0], scores[3])


def test_rounded_shapes_change_no_score() -> None:
    network = CountingNetwork()
    premises, answers = texts(1, 5, 3, 9, 2), texts(3, 3, 3, 3, 3)
    exact = scorer(network, 4)(premises, answers)
    network.shapes.clear()
    rounded = scorer(network, 4, rounding=Rounding(tokens=8, rows=(2, 3)))(premises, answers)
    assert torch.equal(exact, rounded)
    # 4 pairs of 4 to 8 tokens fill 6 rows, the one of 12 tokens fills 2.
    assert network.shapes == [(6, 8), (2, 16)]


def test_padding_is_on_the_side_of_the_tokenizer(nli_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(nli_folder)
    pairs = (["the man is asleep .", "a dog ."], ["a dog .", "a dog ."])
    seen: list[Batch] = []

    def keep(batch: Batch) -> Tensor:
        seen.append(batch)
        return torch.zeros(len(batch["input_ids"]), 3)

    for side in ("right", "left"):
        tokenizer.padding_side = side
        PairScorer(keep, tokenizer, 64, 8)(*pairs)
        expected = tokenizer(pairs[0][::-1], pairs[1][::-1], padding=True, return_tensors="pt")
        assert seen[-1].keys() == expected.keys()
        assert all(torch.equal(seen[-1][name], expected[name]) for name in expected)


def test_a_recorded_shape_gives_the_scores_of_its_batch(nli_folder: Path) -> None:
    """Every shape from its second batch on is run on the same tensors, here unrecorded."""
    judge = NliJudge(nli_folder, probe=False)
    network = RecordedNetwork(judge._log_probs, torch.device("cpu"), always=True)
    g = torch.Generator().manual_seed(0)
    kept = []
    for rows in (3, 5, 3, 3, 5, 5):
        ids = torch.randint(5, 20, (rows, 8), generator=g)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            kept.append((network(batch), judge._log_probs(batch)))
    assert len(network._recordings) == 2
    for replayed, plain in kept:  # a later batch did not overwrite the output of an earlier one
        torch.testing.assert_close(replayed, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("error", "kept"), [(0.0, True), (1e-5, True), (0.5, False)])
def test_a_replay_is_compared_with_the_network(
    error: float, kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU whose replays are wrong by `error`: the judge's scores are right all the same."""

    def wrong(step: Callable[[], None], *_: object) -> Recording:
        def run() -> None:
            step()
            out = inspect.getclosurevars(step).nonlocals["out"]
            out[0] = out[0] + error

        return Recording(run)

    monkeypatch.setattr(recorded, "captured", wrong)
    network = RecordedNetwork(CountingNetwork(), torch.device("cpu"), always=True)
    _all_right(network)
    assert network.has_recordings == kept
    said = capsys.readouterr()
    assert (said.out + said.err).count("a recording differs from the network by 5.0e-01") == (
        not kept
    )


def test_a_replay_of_kept_values_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording that repeats what it computed when it was made, whatever it is given."""

    def stale(step: Callable[[], None], *_: object) -> Recording:
        step()
        return Recording(lambda: None)

    monkeypatch.setattr(recorded, "captured", stale)
    network = RecordedNetwork(CountingNetwork(), torch.device("cpu"), always=True)
    _all_right(network)
    assert not network.has_recordings
    said = capsys.readouterr()
    assert (said.out + said.err).count("the judge runs without CUDA graphs") == 1


def _all_right(network: RecordedNetwork) -> None:
    """Two shapes in turn, several batches of each."""
    g = torch.Generator().manual_seed(0)
    for rows in (3, 5, 3, 3, 5, 5):
        ids = torch.randint(1, 9, (rows, 4), generator=g)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        torch.testing.assert_close(network(batch), CountingNetwork()(batch), atol=1e-4, rtol=0)


def test_recordings_that_are_no_longer_used_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in use stay, and a further shape is not recorded."""
    monkeypatch.setattr(recordings, "MOST", 3)
    monkeypatch.setattr(recordings, "IDLE", 6)
    judge = RecordedNetwork(CountingNetwork(), torch.device("cpu"), always=True)

    def widths_after(*asked: int) -> set[int]:
        for width in asked:
            ids = torch.ones(1, width, dtype=torch.long)
            judge({"input_ids": ids, "attention_mask": ids})
        return {dict(shape)["input_ids"][1] for shape in judge._recordings}

    assert widths_after(1, 2, 3, 4, 1, 2, 3, 4) == {1, 2, 3}
    assert widths_after(1, 2, 3, 4) == {1, 2, 3}
    assert widths_after(2, 3, 4, 2, 4) == {2, 3, 4}  # 1 was last used six batches before


def test_positions_of_a_length_are_computed_once() -> None:
    """A DeBERTa with and without it, for lengths in turn."""
    config = DebertaV2Config(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, relative_attention=True, position_buckets=8,
        pos_att_type=["p2c", "c2p"], type_vocab_size=0, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model = DebertaV2Model(config).eval()
    inputs = [torch.randint(1, 50, (2, n)) for n in (12, 5, 12)]
    with torch.no_grad():
        before = [model(ids).last_hidden_state for ids in inputs]
        remember_positions(model)
        after = [model(ids).last_hidden_state for ids in inputs]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(model.encoder.get_rel_pos._known) == 2


@pytest.mark.parametrize(("n", "rows"), [(1, 8), (8, 8), (9, 16), (33, 64), (100, 128)])
def test_rows_are_rounded_up(n: int, rows: int) -> None:
    assert Rounding(rows=(8, 16, 32)).n_rows(n) == rows
