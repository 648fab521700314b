"""Two ranks on two shards of facts learn what one process learns on all of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from contraflow.distributed.ranks import Ranks
from contraflow.replay.codec import entries_of
from contraflow.replay.existing import in_checkpoint
from support.runs import N_STEPS, checkpoint, lines
from support.tables import arbitrary_log_c
from support.union import CASES, CLIPS, SHARDS, clips_of, gradients_after_a_step

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def left_by(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{kind}-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.defect(3)
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_step_like_one_process_on_all_facts(two_ranks: Path, name: str):
    """3 questions of one fact on rank 0, 5 + 2 of two facts on rank 1.

    The shares differ in size, so a plain mean over ranks would be another number; and for a mean
    over facts so would one by questions.
    """
    shares = [torch.load(two_ranks / f"gradients-{rank}.pt", weights_only=True) for rank in (0, 1)]
    union = [fact for shard in SHARDS for fact in shard]
    for clip in clips_of(name):
        whole = gradients_after_a_step(name, union, Ranks(), two_ranks, clip)
        assert float(whole.norm()) > (1e-2 if clip > 1 else 0.9 * clip)
        for share in shares:
            torch.testing.assert_close(
                share[name, clip], whole, rtol=2e-4, atol=1e-6 * float(whole.norm())
            )
        assert torch.equal(shares[0][name, clip], shares[1][name, clip])


@pytest.mark.defect(3)
def test_the_facts_of_one_rank_alone_have_another_gradient(two_ranks: Path):
    """Else the test above would hold for ranks that all learn from the facts of one of them."""
    union = [fact for shard in SHARDS for fact in shard]
    of_all, of_rank_0, of_rank_1 = (
        gradients_after_a_step("subtb", facts, Ranks(), two_ranks, CLIPS[1])
        for facts in (union, *SHARDS)
    )
    for first, second in itertools.combinations((of_all, of_rank_0, of_rank_1), 2):
        assert float((first - second).norm()) > 0.1 * float(of_all.norm())


@pytest.mark.defect(3)
@pytest.mark.parametrize("kind", ["broadcast", "scatter", "symmetric"])
def test_each_rank_conditions_on_the_facts_it_trains_on(two_ranks: Path, kind: str):
    """Each question is about the fact it is conditioned on, and each rank samples its own.

    At step 0 the adapter is a no-op, so log P_F given the right fact equals the log-prior from when
    the question was scored; given another fact it is another number.
    """
    for rank in left_by(two_ranks, kind):
        for step in rank["steps"]:
            assert step["about"] == [s["fact_id"] for s in step["scored"]]
            for edit_fact, s in zip(step["edit_fact"], step["scored"], strict=True):
                assert s["log_contradiction"] == pytest.approx(
                    arbitrary_log_c(edit_fact, s["question"]), abs=1e-6
                )
        first = rank["steps"][0]
        assert first["replayed"] == 0 and len(set(first["about"])) == 2
        assert first["log_pf"] == pytest.approx(
            [sum(s["log_prior"]) for s in first["scored"]], abs=1e-4
        )


@pytest.mark.defect(3)
@pytest.mark.parametrize("kind", ["scatter", "symmetric"])
def test_two_ranks_make_twice_the_data_on_separate_facts(two_ranks: Path, kind: str):
    ranks = left_by(two_ranks, kind)
    facts = [
        {f for step in rank["steps"] for f in (*step["given"], *step["about"])} for rank in ranks
    ]
    assert facts[0] and facts[1] and not facts[0] & facts[1]
    sampled = [[s["question_ids"] for s in rank["steps"][0]["scored"]] for rank in ranks]
    assert sampled[0] != sampled[1] and len(sampled[0]) == len(sampled[1]) == 8


def test_with_broadcast_all_learn_from_the_batch_of_rank_0(two_ranks: Path):
    one, two = (rank["steps"] for rank in left_by(two_ranks, "broadcast"))
    assert [s["scored"] for s in one] == [s["scored"] for s in two]
    assert [s["about"] for s in one] == [s["about"] for s in two]


@pytest.mark.parametrize("kind", ["broadcast", "scatter", "symmetric"])
def test_ranks_have_the_same_weights_at_every_step_and_they_move(two_ranks: Path, kind: str):
    one, two = ([step["weights"] for step in rank["steps"]] for rank in left_by(two_ranks, kind))
    assert len(one) == N_STEPS
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], one[-1])


@pytest.mark.parametrize("kind", ["broadcast", "scatter", "symmetric"])
def test_only_rank_0_holds_oracle_and_judge_unless_symmetric(two_ranks: Path, kind: str):
    first, second = (rank["built"] for rank in left_by(two_ranks, kind))
    assert first == ["lm", "oracle", "judge"]
    assert second == (["lm", "oracle", "judge"] if kind == "symmetric" else ["lm"])


@pytest.mark.parametrize("kind", ["broadcast", "scatter", "symmetric"])
def test_rank_0_writes_the_run_and_the_memory_of_each_rank(two_ranks: Path, kind: str):
    folder = two_ranks / kind
    assert [row["step"] for row in lines(folder)] == list(range(N_STEPS))
    assert checkpoint(folder)["global_step"] == N_STEPS and (folder / "finished").is_file()
    ranks = json.loads((folder / "ranks.json").read_text())
    second = "sampler, oracle and judge" if kind == "symmetric" else "sampler only"
    assert [(r["rank"], r["holds"]) for r in ranks] == [
        (0, "sampler, oracle and judge"),
        (1, second),
    ]
    assert all(50e6 < r["peak_bytes"] < 5e9 for r in ranks)


def test_the_numbers_of_a_step_are_those_of_all_ranks(two_ranks: Path):
    """Each rank has as many questions, so the mean over questions is the mean over ranks."""
    ranks = left_by(two_ranks, "scatter")
    for row, *steps in zip(
        lines(two_ranks / "scatter"), *(rank["steps"] for rank in ranks), strict=True
    ):
        log_c = [s["log_contradiction"] for step in steps for s in step["scored"]]
        assert row["log_contradiction"] == pytest.approx(sum(log_c) / len(log_c), abs=1e-4)


def test_the_store_of_each_rank_is_in_the_checkpoint_of_rank_0(two_ranks: Path):
    """With replay=memory the entries of rank 1 are in the file of rank 0; a shared store is not."""
    saved = checkpoint(two_ranks / "symmetric")
    second = left_by(two_ranks, "symmetric")[1]
    assert len(saved["replay_of_others"]) == 1
    theirs = saved["replay_of_others"][0].numpy().tobytes()
    assert all(s["fact_id"].encode() in theirs for step in second["steps"] for s in step["scored"])
    assert checkpoint(two_ranks / "scatter")["replay_of_others"] == []


def test_the_best_checkpoint_has_the_store_of_each_rank_as_it_was_then(two_ranks: Path):
    """A run goes on from it where the last checkpoint is damaged."""
    saved = checkpoint(two_ranks / "symmetric", "best")
    theirs = [data.numpy().tobytes() for data in saved["replay_of_others"]]
    assert len(theirs) == 1
    kept = {(s.fact_key, s.question_ids) for s in entries_of(theirs[0])}
    steps = left_by(two_ranks, "symmetric")[1]["steps"][: saved["global_step"]]
    facts = {s["fact_id"] for step in steps for s in step["scored"]}
    assert kept and {key.split("#")[0] for key, _ in kept} == facts


def test_the_replay_of_a_run_is_read_with_that_of_its_other_ranks(two_ranks: Path):
    """`replay stats` and `replay export`."""
    folder = two_ranks / "symmetric"
    saved = checkpoint(folder)
    parts = [saved["replay"], *saved["replay_of_others"]]
    due = {s.fact_key for part in parts for s in entries_of(part.numpy().tobytes())}
    found = {entry.scored.fact_key for entry in in_checkpoint(folder).entries()}
    assert found == due
    assert len(due) > len({s.fact_key for s in entries_of(parts[0].numpy().tobytes())})
