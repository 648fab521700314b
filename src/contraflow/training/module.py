"""The optimizer step, for Lightning: collect experience, turn it into log R, one differentiable
pass, a loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.distributed.gradients import all_reduce_gradients, broadcast_parameters
from contraflow.distributed.messages import StepMetrics
from contraflow.distributed.ranks import Ranks, as_bytes, as_tensor
from contraflow.errors import UserError
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.stream import StepFacts
from contraflow.gflownet.diagnostics import health, log_z_gap
from contraflow.gflownet.objectives import (
    Objective,
    Potentials,
    centered,
    potentials,
    prefix_potentials,
)
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.codec import entries_of
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.settings.learning import OptimizerConfig
from contraflow.text.checks import strict_success
from contraflow.training.learning_rate import WarmupCosine
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward


@dataclass(frozen=True)
class StepOutcome:
    """What a training step saw, for callbacks that log or show it."""

    batch: Batch
    log_reward: Float[Tensor, " b"]
    log_pf: Float[Tensor, " b"]
    metrics: dict[str, float]


class SamplerModule(L.LightningModule):
    """Holds the policy; everything frozen stays outside the module tree."""

    strict_loading = (
        False  # checkpoints hold what is trained; `on_load_checkpoint` is strict about that
    )

    def __init__(
        self,
        policy: LoraPolicy,
        experience: Experience,
        reward: RewardSchedule,
        objective: Objective,
        optimizer: OptimizerConfig,
        *,
        n_steps: int,
        forward_looking: bool = True,
        ranks: Ranks | None = None,
        replay_is_shared: bool = True,
    ) -> None:
        super().__init__()
        self.lora = self.trained_parts(policy)
        self.reward, self.objective, self.settings = reward, objective, optimizer
        self.n_steps, self.forward_looking = n_steps, forward_looking
        self.ranks, self.replay_is_shared = ranks or Ranks(), replay_is_shared
        self._replay_of_others: list[bytes] = []
        # Lightning must not see these: they hold the frozen backbone a second time.
        object.__setattr__(self, "policy", policy)
        object.__setattr__(self, "experience", experience)
        self.outcome: StepOutcome | None = None

    policy: LoraPolicy
    experience: Experience

    @staticmethod
    def trained_parts(policy: LoraPolicy) -> _TrainedParts:
        """What a checkpoint holds of a policy."""
        return _TrainedParts(policy)

    def training_step(self, item: StepFacts, _index: int) -> Float[Tensor, ""]:
        """One step: a table of contents of the whole method."""
        step = self.global_step
        batch = self.experience.collect(item.facts, step, item.seen)
        parts = RewardParts.of(batch.scored, self.policy.lm.device)
        reward = self.reward(parts, step)
        paths = self.policy.evaluate(batch.facts, batch.fact_index, batch.questions)
        u = self._potentials(batch, reward, paths, step)
        loss = self.objective(u, batch.fact_index)
        if not bool(torch.isfinite(loss)):
            raise UserError(
                f"the loss is {loss.item()} at step {step} (facts {', '.join(f.fact_id for f in batch.facts)}); "
                "lower optimizer.lr, optimizer.flow_lr or optimizer.log_z_lr and resume from the last checkpoint"
            )
        self.outcome = self._outcome(batch, parts, reward, paths, u, loss, step)
        return loss

    def on_after_backward(self) -> None:
        """The gradients and numbers of all ranks' facts, before anything is clipped."""
        assert self.outcome is not None
        batch = self.outcome.batch
        note = StepMetrics(self.objective.terms(batch.fact_index), self.outcome.metrics)
        whole = all_reduce_gradients(self.ranks, self.lora.parameters(), note, self.global_step)
        self.outcome = replace(self.outcome, metrics=whole.metrics)
        if self.trainer.loggers:  # collecting for nobody is most of a tiny model's step
            named = {f"train/{k}": v for k, v in whole.metrics.items()}
            self.log_dict(named, batch_size=len(batch.scored))

    def on_train_start(self) -> None:
        """Ranks begin with the same weights, and none before rank 0 has brought replay back."""
        if self.ranks.size > 1:
            broadcast_parameters(self.ranks, self.lora.parameters())

    def _potentials(
        self, batch: Batch, reward: TerminalReward, paths: PathLogProbs, step: int
    ) -> Potentials:
        if self.objective.needs_prefix_rewards:
            return prefix_potentials(paths, self._prefix_reward(batch, paths, step))
        return potentials(paths, reward, self._flow_prior(batch, paths, step))

    def _prefix_reward(self, batch: Batch, paths: PathLogProbs, step: int) -> PrefixReward:
        """log R of every prefix that may stop, each judged as a question of its own; 0 where none
        may.
        """
        rows = self.experience.prefixes(batch, step)
        flat = self.reward(
            RewardParts.of([s for row in rows for s in row], self.policy.lm.device), step
        )
        grid = torch.zeros_like(paths.log_pterm)
        least = self.policy.constraints.min_len
        for row, log_rewards in enumerate(flat.log_reward.split([len(r) for r in rows])):
            grid[row, least : least + len(log_rewards)] = log_rewards
        return PrefixReward(grid)

    def _flow_prior(
        self, batch: Batch, paths: PathLogProbs, step: int
    ) -> Float[Tensor, "b t+1"] | None:
        """Prior log-likelihood of each prefix in units of log R: what a forward-looking flow
        corrects.
        """
        if not (self.forward_looking and self.objective.uses_flow):
            return None
        prior = torch.zeros_like(paths.log_flow)
        for row, scored in enumerate(batch.scored):
            n = len(scored.question_ids)
            prior[row, 1 : n + 1] = torch.tensor(scored.log_prior[:n], device=prior.device)
        return self.reward.prior_weight(step) * prior.cumsum(1)

    def _outcome(
        self,
        batch: Batch,
        parts: RewardParts,
        reward: TerminalReward,
        paths: PathLogProbs,
        u: Potentials,
        loss: Tensor,
        step: int,
    ) -> StepOutcome:
        log_pf = paths.log_p_question.detach()
        owners = [batch.facts[i] for i in batch.fact_index.tolist()]
        successes = [
            strict_success(s.question, s.answer, f.original_answer, f.edited_answer, f.aliases)
            for f, s in zip(owners, batch.scored, strict=True)
        ]
        draws = batch.draws
        group, log_ratio = batch.fact_index[draws], u.terminal.detach()[draws]

        def mean(of_rows: Tensor) -> float:
            return of_rows[draws].float().mean().item()

        metrics = {
            "loss": loss.item(),
            "log_reward": mean(reward.log_reward),
            "log_contradiction": mean(parts.log_contradiction),
            "log_p_question": mean(parts.log_p_question),
            "log_p_answer": mean(parts.log_p_answer),
            "log_entailment": mean(parts.log_entailment),
            "log_pf": mean(log_pf),
            "question_ok": mean(parts.question_ok),
            "strict_success": mean(torch.tensor(successes, device=draws.device)),
            "distinct": len({(s.fact_id, s.question) for s in batch.scored}) / len(draws),
            "var_log_ratio": centered(log_ratio, group).square().mean().item(),
            "reward_temp": self.reward.temperature(step),
            "pf_temp": batch.pf_temp,
            "replay_share": batch.n_replayed / len(draws),
            "question_tokens": mean(batch.questions.lengths),
        }
        if self.objective.uses_flow:
            log_z = paths.log_flow[:, 0].detach()[draws]
            metrics["log_z"] = log_z.mean().item()
            metrics["log_z_gap"] = log_z_gap((reward.log_reward - log_pf)[draws], log_z, group)
        if batch.n_replayed:
            metrics["staleness"] = sum(step - s.step for s in batch.scored) / len(batch.scored)
        metrics |= self._health(batch, reward, log_pf, step)
        return StepOutcome(batch, reward.log_reward, log_pf, metrics)

    def _health(
        self, batch: Batch, reward: TerminalReward, log_pf: Float[Tensor, " b"], step: int
    ) -> dict[str, float]:
        """The diagnostics that this batch can tell; one that is undefined for it is left out."""
        rng = torch_rng(self.experience.seed, step, self.experience.rank, "health")
        draws, ids, lengths = batch.draws, batch.questions.ids, batch.questions.lengths
        found = health(
            reward.log_reward[draws],
            log_pf[draws],
            batch.fact_index[draws],
            ids[draws],
            lengths[draws],
            rng,
        )
        return {name: value for name, value in found.as_dict().items() if math.isfinite(value)}

    def transfer_batch_to_device(self, batch: StepFacts, *_: Any) -> StepFacts:
        """Facts are text: nothing to move."""
        return batch

    def cpu(self) -> Self:
        """Stay. A trainer that is done puts its module away on the CPU, but the backbone remains,
        and both are used.
        """
        return self

    def configure_optimizers(self) -> dict[str, Any]:
        """Three groups in a fixed order, since optimizer states are stored by index."""
        groups = [
            {"params": self.lora.adapter_parameters(), "lr": self.settings.lr},
            {"params": list(self.lora.flow.inner.parameters()), "lr": self.settings.flow_lr},
            {"params": list(self.lora.flow.log_z.parameters()), "lr": self.settings.log_z_lr},
        ]
        optimizer = torch.optim.AdamW(
            groups, betas=(0.9, 0.99), weight_decay=self.settings.weight_decay
        )
        share = WarmupCosine(self.settings.warmup_steps, self.settings.final_lr_share, self.n_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """The norm before clipping tells a healthy run from one that explodes."""
        grads = [
            p.grad
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        norm = torch.stack([g.norm() for g in grads]).norm().item()
        if self.outcome is not None:
            self.outcome.metrics["grad_norm"] = norm
        self.log("train/grad_norm", norm)

    def gather_replay(self) -> None:
        """Before a checkpoint, on every rank: what the others' stores hold, where each rank has its
        own.
        """
        if self.ranks.size > 1 and not self.replay_is_shared:
            mine = b"" if self.ranks.is_first else self.experience.replay.snapshot()
            self._replay_of_others = self.ranks.gather(mine, "replay for a checkpoint")[1:]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is trained, and what replay holds; never the backbone."""
        checkpoint["replay"] = as_tensor(self.experience.replay.snapshot())
        checkpoint["replay_of_others"] = [as_tensor(data) for data in self._replay_of_others]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Strict about what is trained: a missing or unexpected tensor is an error, not a silent
        zero.
        """
        ours, theirs = set(self.state_dict()), set(checkpoint["state_dict"])
        if ours != theirs:
            odd = sorted(ours ^ theirs)[:3]
            raise UserError(
                f"the checkpoint was made with another adapter or flow head (differs in {', '.join(odd)}); "
                "resume with the settings that it was trained with, or start anew under another name"
            )
        mine = [checkpoint["replay"], *checkpoint.get("replay_of_others", ())]
        snapshot = as_bytes(mine[0 if self.replay_is_shared else self.ranks.rank])
        if self.ranks.is_first or not self.replay_is_shared:
            self.experience.replay.resume(snapshot)
        self.experience.scorer.preload(entries_of(snapshot))


class _TrainedParts(torch.nn.Module):
    """Adapter weights and flow head under stable names, without the backbone that they sit on."""

    def __init__(self, policy: LoraPolicy) -> None:
        super().__init__()
        self.flow = policy.flow
        self._names = []
        for name, parameter in policy.lm.model.named_parameters():
            if parameter.requires_grad:
                self._names.append(name.replace(".", "/"))
                self.register_parameter(self._names[-1], parameter)

    def adapter_parameters(self) -> list[torch.nn.Parameter]:
        return [self.get_parameter(name) for name in self._names]
