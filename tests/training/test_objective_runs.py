"""Every objective in a whole tiny run, and the prefixes that modified SubTB has scored."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from contraflow.gflownet.objectives import ModifiedSubTB
from contraflow.models.causal_lm import CausalLM
from contraflow.settings import ExplorationConfig, ObjectiveConfig
from contraflow.settings.learning import POLICY_GRADIENTS
from contraflow.training import job
from support.facts import FACTS
from support.runs import N_STEPS, lines, tiny_config, use_tiny_parts
from support.tables import RecordingOracle, arbitrary_log_c, small_experience, small_policy

pytestmark = pytest.mark.filterwarnings("ignore")
HEALTH = {"elbo", "log_z_mc", "eubo", "ess", "prefix_entropy"}


@pytest.mark.parametrize("name", ["subtb", "tb", "db", "vargrad", "modified_subtb", "ctb"])
def test_every_objective_trains_and_logs_its_health(tiny: Path, monkeypatch, name: str):
    use_tiny_parts(monkeypatch.setattr)
    folder = job.train(tiny_config(tiny, objective=ObjectiveConfig(name=name, bound=50.0)))
    history = lines(folder)
    assert [row["step"] for row in history] == list(range(N_STEPS))
    for row in history:
        assert row.keys() >= HEALTH and all(math.isfinite(row[key]) for key in HEALTH)
        assert row["elbo"] <= row["log_z_mc"] + 1e-4 and row["log_z_mc"] <= row["eubo"] + 1e-4
        assert ("log_z" in row) is (name in ("subtb", "tb", "db"))
        assert ("staleness" in row) is (row["replay_share"] > 0)


@pytest.mark.parametrize(
    ("objective", "exploration"),
    [
        pytest.param(ObjectiveConfig(name="rloo"), {}, id="rloo"),
        pytest.param(ObjectiveConfig(name="grpo"), {"distinct": True}, id="grpo of different"),
        pytest.param(
            ObjectiveConfig(name="vargrad", penalty="linex"), {"prior_share": 0.25}, id="linex"
        ),
        pytest.param(
            ObjectiveConfig(name="subtb", penalty="shifted_cosh", bound=5.0), {}, id="cosh"
        ),
        pytest.param(
            ObjectiveConfig(name="vargrad", forward_kl=1.0, forward_kl_end=0.5),
            {"distinct": True, "prior_share": 0.5},
            id="forward KL",
        ),
    ],
)
def test_other_losses_and_samples_train_too(
    tiny: Path, monkeypatch, capsys, objective: ObjectiveConfig, exploration: dict[str, object]
):
    """A policy gradient sees neither replay nor other temperatures, whatever the settings say."""
    use_tiny_parts(monkeypatch.setattr)
    settings = ExplorationConfig(n_samples=4, use_buffer_prob=0.5, pf_temp_prob=0.5, **exploration)
    history = lines(job.train(tiny_config(tiny, objective=objective, exploration=settings)))
    assert [row["step"] for row in history] == list(range(N_STEPS))
    assert all(math.isfinite(row["loss"]) for row in history)
    is_on_policy = objective.name in POLICY_GRADIENTS
    assert any(row["replay_share"] for row in history) is not is_on_policy
    assert ({row["pf_temp"] for row in history} == {1.0}) is is_on_policy
    captured = capsys.readouterr()
    assert ("use_buffer_prob" in captured.out + captured.err) is is_on_policy
    if objective.uses_forward_kl:
        # From 1 to ½ over the six steps: 1 − step / 12.
        shares = [row["forward_kl_share"] for row in history]
        assert shares == pytest.approx([1 - step / 12 for step in range(N_STEPS)])
    if settings.distinct:
        assert {row["distinct"] for row in history if not row["replay_share"]} == {1.0}


def test_an_objective_without_a_share_is_neither_asked_for_nor_logged(
    tiny: Path, monkeypatch, capsys
):
    """With forward_kl=1 SubTB logged a log Z that nothing trains, and modified SubTB had every
    prefix answered and judged for a loss that is not computed.
    """
    use_tiny_parts(monkeypatch.setattr)
    losses: dict[str, list[float]] = {}
    for name in ("subtb", "modified_subtb", "vargrad"):
        objective = ObjectiveConfig(name=name, forward_kl=1.0)
        history = lines(job.train(tiny_config(tiny, name=name, objective=objective)))
        assert not any("log_z" in row or "log_z_gap" in row for row in history)
        losses[name] = [row["loss"] for row in history]
        captured = capsys.readouterr()
        assert "judgements instead of" not in captured.out + captured.err
    assert losses["subtb"] == pytest.approx(losses["vargrad"], abs=1e-5)
    assert losses["modified_subtb"] == pytest.approx(losses["vargrad"], abs=1e-5)


def test_the_cost_of_prefix_rewards_is_printed_first(tiny: Path, monkeypatch, capsys):
    """2 facts × 4 questions of 2 to 4 tokens have three prefixes each: 24 instead of 8."""
    use_tiny_parts(monkeypatch.setattr)
    printed = {}
    for name in ("modified_subtb", "vargrad"):
        job.train(tiny_config(tiny, name=name, objective=ObjectiveConfig(name=name)))
        captured = capsys.readouterr()
        printed[name] = " ".join((captured.out + captured.err).split())
    assert "asks for up to 24 answers and judgements instead of 8" in printed["modified_subtb"]
    assert "judgements" not in printed["vargrad"]


def test_prefixes_are_scored_once_each_and_not_stored(tiny_lm: CausalLM):
    """Cut after 1 … L tokens; each is judged by its own text, not that of the whole question."""
    experience = small_experience(small_policy(tiny_lm), settings=None)
    batch = experience.collect(FACTS, 0)
    stored = experience.replay.snapshot()
    rows = experience.prefixes(batch, 0)
    owners = [batch.facts[i] for i in batch.fact_index.tolist()]
    for fact, whole, row in zip(owners, batch.scored, rows, strict=True):
        assert [s.question_ids for s in row] == [
            whole.question_ids[: n + 1] for n in range(len(whole.question_ids))
        ]
        for s in row:
            assert s.fact_id == fact.fact_id
            assert s.log_contradiction == pytest.approx(
                arbitrary_log_c(fact.edit_fact, s.question), abs=1e-6
            )
        assert row[-1] == whole
    oracle = experience.scorer.oracle
    assert isinstance(oracle, RecordingOracle)
    distinct = {(s.fact_id, s.question_ids) for row in rows for s in row}
    assert len(oracle.questions) == len(distinct)
    assert experience.replay.snapshot() == stored


def test_the_reward_of_each_prefix_is_at_its_own_column(tiny_lm: CausalLM):
    """The module gives the objective log R of y_1 … y_t at column t, from min_len on."""
    from contraflow.settings.learning import OptimizerConfig
    from contraflow.training.module import SamplerModule

    experience = small_experience(small_policy(tiny_lm, min_len=2))
    module = SamplerModule(
        experience.policy,
        experience,
        experience.reward,
        ModifiedSubTB(),
        OptimizerConfig(),
        n_steps=1,
    )
    batch = experience.collect(FACTS, 0)
    paths = experience.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
    grid = module._prefix_reward(batch, paths, 0).log_reward
    for row, (i, whole) in enumerate(zip(batch.fact_index.tolist(), batch.scored, strict=True)):
        for t in range(2, len(whole.question_ids) + 1):
            text = experience.policy.lm.decode(whole.question_ids[:t]).strip() + "?"
            log_c = arbitrary_log_c(batch.facts[i].edit_fact, text)
            alone = experience.policy.prior(
                [batch.facts[i]],
                torch.tensor([0]),
                type(batch.questions)(batch.questions.ids[row : row + 1, :t], torch.tensor([t])),
            )
            assert float(grid[row, t]) == pytest.approx(
                log_c + float(alone.log_p_question), abs=1e-4
            )
        assert not grid[row, :2].any()
