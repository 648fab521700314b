"""The baselines of the fit study on tiny models: what they keep, learn and cost."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.metrics import read_metrics
from contraflow.evaluation.records import read_records
from contraflow.experience.collect import sample_questions
from contraflow.facts import read_facts
from contraflow.run import build
from contraflow.run.build import assemble
from contraflow.run.session import Run
from contraflow.seeding import derived_seed, torch_rng
from contraflow.settings import Config, EvaluationConfig
from studies.fit import baselines
from support.runs import tiny_config, use_tiny_parts, write_tiny_facts

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    write_tiny_facts(tmp_path / "facts.jsonl")
    use_tiny_parts(monkeypatch.setattr)
    monkeypatch.setattr(baselines, "why_no_encoder", lambda: "no encoder here")
    return tiny_config(tmp_path, evaluation=EvaluationConfig(n_samples=3))


@pytest.mark.parametrize("kind", ["untrained", "resample", "finetune"])
def test_a_baseline_is_a_measured_run_folder(config: Config, kind: str) -> None:
    folder = baselines.make(kind, config, baselines.Budget(questions=40, keep=1, epochs=2))
    records = read_records(folder / "evaluation" / "after_questions.jsonl")
    assert {len(group) for group in by_fact(records).values()} == {3}
    assert read_metrics(folder / "evaluation" / "after.json").n_questions == len(records)
    asked = json.loads((folder / "cost.json").read_text())["questions"]
    n_test = len(by_fact(records))
    # resample: 40 // n_test each; finetune: 40 // 4 facts with 4 questions, as far as they go
    expected = {"untrained": [0], "resample": [40 // n_test * n_test], "finetune": range(4, 41, 4)}
    assert asked in expected[kind]
    assert (folder / "finished").is_file()
    assert (folder / "adapter").is_dir() is (kind == "finetune")


def test_resampling_follows_reward_over_prior(config: Config) -> None:
    """A text is kept as often as its candidates' share of all R / P_Q, to 5 standard errors."""
    run = Run.of("untrained", assemble(config, adapter=None))
    facts = read_facts(str(config.data.facts))[:2]
    n = 4000
    kept = by_fact(baselines.resampled(run, facts, per_fact=30, n=n))
    candidates = by_fact(run.generate(facts, 30, seed=derived_seed(config.seed, "candidates")))
    for fact, group in candidates.items():
        weights = np.exp([record.log_reward - record.log_pf for record in group])
        share: dict[str, float] = defaultdict(float)
        for record, weight in zip(group, weights / weights.sum(), strict=True):
            share[record.question] += weight
        counts = Counter(record.question for record in kept[fact])
        for question, expected in share.items():
            error = math.sqrt(expected * (1 - expected) / n) + 1 / n
            assert abs(counts[question] / n - expected) < 5 * error
        assert max(share.values()) > 2 / 30, "the weights differ"


def test_finetuning_raises_the_likelihood_of_its_questions(config: Config) -> None:
    policy = build.assemble(config, adapter="fresh").policy
    facts = read_facts(str(config.data.facts))[:2]
    questions = sample_questions(policy, facts, 3, torch_rng("finetune"))
    with torch.no_grad():
        before = baselines._log_pf(policy, questions).mean()
    config.optimizer.lr = 0.01
    baselines.learn(policy, config, questions, epochs=20)
    with torch.no_grad():
        after = baselines._log_pf(policy, questions).mean()
    assert after > before + 1
