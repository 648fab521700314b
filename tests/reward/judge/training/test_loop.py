"""Judge training on a tiny backbone: it learns, it is repeatable, and it saves what it learned."""

from itertools import islice, repeat
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from contraflow.reward.judge.minilm import JudgeSpec, load_network
from contraflow.reward.judge.training.__main__ import ASSETS
from contraflow.reward.judge.training.evaluate import pair_logits
from contraflow.reward.judge.training.names import Names, load_names
from contraflow.reward.judge.training.pairs import Pair, PairMaker, soft
from contraflow.reward.judge.training.relations import Relation
from contraflow.reward.judge.training.sentences import Sentences
from contraflow.reward.judge.training.train import POOL_BATCHES, TrainSettings, batches, train

SPEC = JudgeSpec(hidden_size=32, head_size=8, lora_rank=2, lora_alpha=4, max_length=48)
PAIRS = [
    Pair("the man is asleep .", "the man is awake .", soft("contradiction"), "c"),
    Pair("the man is asleep .", "the man is asleep .", soft("entailment"), "e"),
    Pair("the man is asleep .", "a dog is running .", soft("neutral"), "n"),
]


def test_it_learns_three_pairs_and_saves_what_it_trained(
    tmp_path: Path, backbone_folder: Path
) -> None:
    settings = TrainSettings(steps=150, lr=0.02, warmup=5, label_smoothing=0.0, save_every=150)
    network = train(backbone_folder, repeat(PAIRS), settings, SPEC, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(backbone_folder)
    logits = pair_logits(network, tokenizer, PAIRS, 48)
    assert logits.argmax(-1).tolist() == [2, 0, 1]
    saved = load_network(backbone_folder, tmp_path / "out").eval()
    # The file has half precision: 11 bits of each weight.
    torch.testing.assert_close(
        pair_logits(saved, tokenizer, PAIRS, 48), logits, atol=0.05, rtol=0.02
    )


def test_the_same_seed_trains_the_same_judge(tmp_path: Path, backbone_folder: Path) -> None:
    settings = TrainSettings(steps=3, warmup=1, seed=5)
    first, second = (
        train(backbone_folder, repeat(PAIRS), settings, SPEC, tmp_path) for _ in range(2)
    )
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_batches_mix_both_sources_and_repeat() -> None:
    """Pools of ten batches of 32: 0.32 · 320 = 102 NLI pairs in each pool."""
    relation = Relation("c", "thing", "hue", "c", False, ("S is O.", "The colour of S is O."), ())
    real = {
        kind: ["Ab Cd"] for kind in ("pr_person", "pr_city", "pr_work", "pr_company", "pr_product")
    }
    # The packaged names are for the details of answers.
    shipped = load_names(ASSETS / "judge_training" / "names.txt", "train", real)
    lists = {"thing": ("cup", "bell", "hat"), "hue": ("red", "blue", "pink")}
    names = Names({**shipped.leaves, **lists}, shipped.grammars)
    maker = PairMaker(Sentences([relation], names, {}), ["A dog runs."])
    settings = TrainSettings(seed=3)
    pool = list(islice(batches(maker, PAIRS, settings), POOL_BATCHES))
    assert [len(batch) for batch in pool] == [32] * POOL_BATCHES
    assert sum(pair in PAIRS for batch in pool for pair in batch) == 102
    assert pool == list(islice(batches(maker, PAIRS, settings), POOL_BATCHES))
    other = list(islice(batches(maker, PAIRS, TrainSettings(seed=4)), POOL_BATCHES))
    assert pool != other


def test_a_finished_judge_can_be_trained_on(tmp_path: Path, backbone_folder: Path) -> None:
    """One step at a learning rate of zero leaves the loaded weights as they were."""
    start = train(
        backbone_folder, repeat(PAIRS), TrainSettings(steps=2, save_every=2), SPEC, tmp_path / "a"
    )
    on = TrainSettings(steps=1, lr=0.0, start_from=str(tmp_path / "a"))
    again = train(backbone_folder, repeat(PAIRS), on, SPEC, tmp_path / "b")
    for name, value in start.state_dict().items():
        assert again.state_dict()[name] == pytest.approx(value, abs=1e-3), name
