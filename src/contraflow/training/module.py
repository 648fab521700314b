"""The optimizer step: collect experience, compute log R, one differentiable pass, a loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import lightning as L
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from contraflow.distributed.gradients import all_reduce_gradients, broadcast_parameters
from contraflow.distributed.messages import StepMetrics
from contraflow.distributed.ranks import Ranks, as_bytes, as_tensor
from contraflow.errors import UserError
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.stream import StepFacts
from contraflow.facts import Fact
from contraflow.gflownet.objectives import (
    Objective,
    Potentials,
    potentials,
    prefix_potentials,
)
from contraflow.models.transfer import to_device
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.codec import entries_of
from contraflow.replay.migrate import with_fact_hashes
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import torch_rng
from contraflow.settings.learning import OptimizerConfig
from contraflow.training.learning_rate import WarmupCosine
from contraflow.training.loss import StepLoss, token_terms
from contraflow.training.step_metrics import StepNumbers, step_metrics
from contraflow.training.terms import Terms
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward

LOWER_RATES = (
    "lower optimizer.lr, optimizer.flow_lr or optimizer.log_z_lr and resume from the last "
    "checkpoint"
)


@dataclass(frozen=True)
class StepOutcome:
    """The batch and the numbers of a training step, for the callbacks that log them."""

    batch: Batch
    log_reward: Float[ndarray, " b"]
    log_pf: Float[ndarray, " b"]
    metrics: dict[str, float]


class SamplerModule(L.LightningModule):
    """The policy in training. Everything frozen stays outside the module tree."""

    # Checkpoints hold only what is trained; `on_load_checkpoint` is strict about that.
    strict_loading = False

    def __init__(
        self,
        policy: LoraPolicy,
        experience: Experience,
        reward: RewardSchedule,
        objective: Objective | StepLoss,
        optimizer: OptimizerConfig,
        *,
        n_steps: int,
        forward_looking: bool = True,
        ranks: Ranks | None = None,
        replay_is_shared: bool = True,
        facts: Sequence[Fact] = (),
    ) -> None:
        super().__init__()
        self.lora = self.trained_parts(policy)
        self.reward = reward
        self.loss = objective if isinstance(objective, StepLoss) else StepLoss(objective)
        self.objective = self.loss.objective
        self.settings = optimizer
        self.n_steps = n_steps
        self.forward_looking = forward_looking
        self.ranks = ranks or Ranks()
        self.replay_is_shared = replay_is_shared
        self._facts = facts  # replay of an older version belongs to them
        self._replay_of_others: list[bytes] = []
        # Set around Lightning, which would register the frozen backbone that they hold.
        object.__setattr__(self, "policy", policy)
        object.__setattr__(self, "experience", experience)
        self.outcome: StepOutcome | None = None

    policy: LoraPolicy
    experience: Experience

    @staticmethod
    def trained_parts(policy: LoraPolicy) -> _TrainedParts:
        """The tensors of a policy that a checkpoint holds."""
        return _TrainedParts(policy)

    def training_step(self, item: StepFacts, _index: int) -> Float[Tensor, ""]:
        """Collect a batch, turn its parts into log R, evaluate its questions, compute the loss."""
        step = self.global_step
        batch = self.experience.collect(item.facts, step, item.seen)
        parts = RewardParts.of(batch.scored, self.policy.lm.device)
        reward = self.reward(parts, step)
        paths = self.policy.evaluate(batch.facts, batch.owners, batch.questions)
        u = self._potentials(batch, reward, paths, step)
        factor = self._forward_kl_factor(batch, step)
        loss = self.loss(batch, reward, paths, u, self.policy, step, factor)
        numbers = StepNumbers.of(loss, reward, paths, u)
        if not math.isfinite(numbers.loss):
            facts = ", ".join(f.fact_id for f in batch.facts)
            raise UserError(
                f"the loss is {numbers.loss} at step {step} (facts {facts}); {LOWER_RATES}"
            )
        self.outcome = self._outcome(batch, numbers, step)
        return loss

    def on_after_backward(self) -> None:
        """All-reduce gradients and metrics, before gradients are clipped."""
        assert self.outcome is not None
        batch = self.outcome.batch
        step = self.global_step
        own = StepMetrics(self.loss.terms(batch, step), self.outcome.metrics)
        whole = all_reduce_gradients(self.ranks, self.lora.parameters(), own, step)
        self.outcome = replace(self.outcome, metrics=whole.metrics)
        # Without loggers log_dict is wasted work, and most of a tiny model's step.
        if self.trainer.loggers:
            # Lightning would copy numbers to the device, each with a wait, and back again.
            named = {f"train/{k}": torch.tensor(v) for k, v in whole.metrics.items()}
            self.log_dict(named, batch_size=len(batch.scored))

    def on_train_start(self) -> None:
        """Start all ranks from rank 0's weights, after rank 0 has restored replay."""
        if self.ranks.size > 1:
            broadcast_parameters(self.ranks, self.lora.parameters())

    def _potentials(
        self, batch: Batch, reward: TerminalReward, paths: PathLogProbs, step: int
    ) -> Potentials:
        if not self.loss.has_objective(step):
            return potentials(paths, reward)
        if self.objective.needs_prefix_rewards:
            return prefix_potentials(paths, self._prefix_reward(batch, paths, step))
        u = potentials(paths, reward, self._flow_prior(batch, paths, step))
        if not self.objective.needs_tokens:
            return u
        weight = self.reward.prior_weight(step)
        ceiling = self.reward.likelihood_ceiling
        return replace(u, tokens=token_terms(batch, reward, paths, weight, ceiling))

    def _forward_kl_factor(self, batch: Batch, step: int) -> float:
        """What a rank's forward KL is multiplied by beside an objective. Collective there."""
        if self.ranks.size == 1 or not self.loss.has_both(step):
            return 1.0
        own = self.loss.terms_of_both(batch)
        counts = torch.tensor([own.objective, own.forward_kl])
        objective, forward_kl = self.ranks.all_reduce(counts, f"terms of step {step}").tolist()
        return own.forward_kl_factor(Terms(objective, forward_kl))

    def _prefix_reward(self, batch: Batch, paths: PathLogProbs, step: int) -> PrefixReward:
        """log R of every prefix that may stop, scored as a question of its own; 0 elsewhere."""
        rows = self.experience.prefixes(batch, step)
        parts = RewardParts.of(list(itertools.chain(*rows)), self.policy.lm.device)
        log_rewards = self.reward(parts, step).log_reward.split([len(row) for row in rows])
        grid = torch.zeros_like(paths.log_pterm)
        shortest = self.policy.constraints.min_len
        for row, log_reward in enumerate(log_rewards):
            grid[row, shortest : shortest + len(log_reward)] = log_reward
        return PrefixReward(grid)

    def _flow_prior(
        self, batch: Batch, paths: PathLogProbs, step: int
    ) -> Float[Tensor, "b t+1"] | None:
        """Prior log-likelihood of each prefix in units of log R, for forward-looking flows.

        The flow head then learns only what remains of log F (Pan et al. 2023). The prefix is
        clamped at `reward.likelihood_ceiling` as log P_Q is in log R, so that with the stop it ends
        at the reward's own term, w / T · min(log P_Q, ceiling). It depends on the state alone, as
        a potential must; at the root it is 0, so that log F(s_0) of the head is log Z itself.
        """
        if not (self.forward_looking and self.objective.uses_flow):
            return None
        prior = torch.zeros(paths.log_flow.shape)
        for row, scored in enumerate(batch.scored):
            n = len(scored.question_ids)
            prior[row, 1 : n + 1] = torch.tensor(scored.log_prior[:n])
        cumulative = to_device(prior, paths.log_flow.device).cumsum(1)
        ceiling = self.reward.likelihood_ceiling
        if ceiling < 0:  # 0 is no ceiling: a log-probability above it is a rounding error
            cumulative[:, 1:] = cumulative[:, 1:].clamp(max=ceiling)
        return self.reward.prior_weight(step) * cumulative

    def _outcome(self, batch: Batch, numbers: StepNumbers, step: int) -> StepOutcome:
        rng = torch_rng(self.experience.seed, step, self.experience.rank, "health")
        learns_flow = self.objective.uses_flow and self.loss.has_objective(step)
        metrics = step_metrics(batch, numbers, step, rng, uses_flow=learns_flow)
        metrics["reward_temp"] = self.reward.temperature(step)
        if self.loss.uses_forward_kl:
            metrics["forward_kl_share"] = self.loss.share(step)
        return StepOutcome(batch, numbers.log_reward, numbers.log_pf, metrics)

    def transfer_batch_to_device(self, batch: StepFacts, *_: Any) -> StepFacts:
        """Facts are text: nothing to move."""
        return batch

    def cpu(self) -> Self:
        """Stay on the device. A finished trainer moves its module to the CPU, but the backbone
        stays where it is, and both are still used.
        """
        return self

    def configure_optimizers(self) -> dict[str, Any]:
        """Three groups with their own rates, in a fixed order: states are stored by index."""
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
        """Log the gradient norm before clipping, which shows an exploding run."""
        parameters = itertools.chain(*(group["params"] for group in optimizer.param_groups))
        norms = [p.grad.norm() for p in parameters if p.grad is not None]
        norm = torch.stack(norms).norm().item()
        if not math.isfinite(norm):  # before it ruins the weights, and a checkpoint of them
            raise UserError(
                f"the gradient is {norm} at step {self.global_step} though the loss is finite; "
                f"{LOWER_RATES}, or with model.dtype=float16 use bfloat16 or float32"
            )
        if self.outcome is not None:
            self.outcome.metrics["grad_norm"] = norm
        self.log("train/grad_norm", torch.tensor(norm))

    def gather_replay(self) -> None:
        """Gather the other ranks' replay on rank 0, where each rank has a store of its own.

        Collective: every rank calls it before a checkpoint.
        """
        if self.ranks.size > 1 and not self.replay_is_shared:
            mine = b"" if self.ranks.is_first else self.experience.replay.snapshot()
            self._replay_of_others = self.ranks.gather(mine, "replay for a checkpoint")[1:]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the replay of all ranks. The state dict holds what is trained, not the backbone."""
        checkpoint["replay"] = as_tensor(self.experience.replay.snapshot())
        checkpoint["replay_of_others"] = [as_tensor(data) for data in self._replay_of_others]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse missing and unexpected tensors, and restore replay and the scorer's cache."""
        ours = set(self.state_dict())
        theirs = set(checkpoint["state_dict"])
        if ours != theirs:
            odd = sorted(ours ^ theirs)[:3]
            raise UserError(
                "the checkpoint was made with another adapter or flow head (differs in "
                f"{', '.join(odd)}); "
                "resume with the settings that it was trained with, or start anew under another "
                "name"
            )
        snapshots = [checkpoint["replay"], *checkpoint.get("replay_of_others", ())]
        place = 0 if self.replay_is_shared else self.ranks.rank
        if place >= len(snapshots):
            raise UserError(
                f"the checkpoint holds the replay of {len(snapshots)} of {self.ranks.size} ranks; "
                "resume from another one, or start anew under another name"
            )
        stored = as_bytes(snapshots[place])
        snapshot = with_fact_hashes(stored, self._facts)
        if self.ranks.is_first or not self.replay_is_shared:
            self.experience.replay.resume(snapshot)
        self.experience.scorer.preload(entries_of(snapshot))


class _TrainedParts(torch.nn.Module):
    """Adapter weights and flow head under stable names, without the backbone."""

    def __init__(self, policy: LoraPolicy) -> None:
        super().__init__()
        self.flow = policy.flow
        self._names = []
        for name, parameter in policy.lm.model.named_parameters():
            if parameter.requires_grad:
                self._names.append(name.replace(".", "/"))
                self.register_parameter(self._names[-1], parameter)

    def adapter_parameters(self) -> list[torch.nn.Parameter]:
        """The LoRA matrices, in the order of the backbone."""
        return [self.get_parameter(name) for name in self._names]
