"""Build the parts of a run from its config: the only place where settings meet models.

`assemble` is the way in; the `load_…` functions are for commands that need one part only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from contraflow.models.causal_lm import CausalLM
from contraflow.models.weights.packaged import packaged_folder
from contraflow.models.weights.resolve import resolve_model
from contraflow.models.weights.sources import source_of
from contraflow.policy.adapter import adapter_folder, load_adapter, start_from
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.policy.room import check_room
from contraflow.policy.targets import check_targets
from contraflow.reward.judge import Judge, NliJudge, PackagedJudge, packaged_judge_folder
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.answerers import delta_of_sampler, open_answerer
from contraflow.run.device import check_device
from contraflow.run.loading import device_of as device_of  # noqa: PLC0414 (used by others from here)
from contraflow.run.loading import load_lm as load_lm  # noqa: PLC0414
from contraflow.run.own_objects import NO_OWN, OwnObjects
from contraflow.settings import Config
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import Oracle

Role = Literal["oracle", "judge"]
ALL_ROLES: tuple[Role, ...] = ("oracle", "judge")


@dataclass(frozen=True)
class Parts:
    """The models of one process, with the reward that its config describes.

    Every process has a sampler. Oracle and judge are None in a process without that role.
    """

    config: Config
    policy: LoraPolicy
    oracle: Oracle | None
    judge: Judge | None
    reward: RewardSchedule

    def with_fresh_adapter(self) -> Parts:
        """The same backbone, oracle and judge, with a policy whose adapter can be trained."""
        self.policy.release_graphs()
        return replace(self, policy=_fresh_policy(self.config, self.policy.lm))


def assemble(
    config: Config,
    *,
    adapter: Path | Literal["fresh"] | None,
    roles: Collection[Role] = ALL_ROLES,
    own: OwnObjects = NO_OWN,
) -> Parts:
    """Load the models of a config, each of them once.

    A served oracle is opened first: whether it gives log-probabilities is known without a model.

    Args:
        adapter: a folder with a trained adapter, ``"fresh"`` for one to be trained, None for the
            backbone alone.
        roles: what this process does besides sampling.
        own: objects of the caller's, which are not built from the config.
    Raises: UserError when there is no such device, a model cannot be loaded, the adapter does not
        fit, or the oracle gives no log-probabilities.
    """
    check_device(config)
    oracle = _served_oracle(config) if "oracle" in roles else None
    lm = load_lm(config)
    _check_sampler(config, lm, trained=isinstance(adapter, Path))
    if oracle is None and "oracle" in roles:
        oracle = load_oracle(config, lm)
    judge = None
    if "judge" in roles:
        judge = load_judge(config) if own.judge is None else own.judge
    if adapter == "fresh":
        policy = _fresh_policy(config, lm)
    else:
        policy = load_policy(config, lm, with_adapter=adapter is not None)
    if isinstance(adapter, Path):
        load_adapter(policy, adapter)
    reward = build_reward(config) if own.reward is None else own.reward
    return Parts(config, policy, oracle, judge, reward)


def _check_sampler(config: Config, lm: CausalLM, *, trained: bool) -> None:
    """Check what the settings ask of the backbone before an oracle or a judge is loaded.

    An adapter that was trained has shown that its layers exist. Raises: UserError naming the key.
    """
    check_room(lm, task_prompt(config.prompt.task), config.policy.max_question_len)
    if not trained:
        check_targets(lm.model, config.model.lora.target_modules)


def _served_oracle(config: Config) -> Oracle | None:
    """The oracle if it is a served one; None for any other.

    Raises: UserError where it cannot be opened, or its answers have no log P_A: it is refused
        before it is asked and paid for.
    """
    name = config.oracle.name
    if name is None or source_of(name).form != "served":
        return None
    from contraflow.reward.oracle.served.errors import without_log_p
    from contraflow.reward.oracle.served.oracle import ServedOracle

    oracle = open_answerer(name, config=config).oracle("few_shot")
    if isinstance(oracle, ServedOracle) and not oracle.has_log_p:
        raise without_log_p(name)
    return oracle


def load_oracle(config: Config, lm: CausalLM) -> Oracle:
    """The sampler's own backbone with its adapter off, or whatever `oracle.name` names.

    A delta stands on the sampler's backbone. An adapter has a base of its own in memory: the
    sampler's backbone carries the adapter that is trained.

    Raises: UserError for an oracle that cannot be opened.
    """
    own = config.oracle.name
    if own is None or own == config.model.name:
        return FrozenLMOracle(lm, answer_prompt(config.prompt.answer), config.oracle)
    if source_of(own).form == "delta":
        return delta_of_sampler(own, lm, config).oracle("few_shot")
    return open_answerer(own, config=config).oracle("few_shot")


def load_judge(config: Config) -> Judge:
    """The packaged judge, or any NLI checkpoint. Raises: UserError without its device."""
    check_device(config)
    device = str(device_of(config))
    if config.judge.name == "packaged:minilm":
        backbone = packaged_folder("all-minilm-l6-v2")
        return PackagedJudge(backbone, packaged_judge_folder(), config.judge, device=device)
    folder = resolve_model(config.judge.name, "judge")
    return NliJudge(str(folder), config.judge, device=device)


def load_policy(config: Config, lm: CausalLM, *, with_adapter: bool = True) -> LoraPolicy:
    """Build the sampler: constraints from the tokenizer, prompt, fresh adapter and flow head.

    The initial weights depend on the seed alone; the global generator is restored.
    """
    p = config.policy
    vocabulary: Any = p.vocabulary
    constraints = question_constraints(
        lm.tokenizer,
        vocabulary=vocabulary,
        min_len=p.min_question_len,
        max_len=p.max_question_len,
        device=lm.device,
    )
    lora = config.model.lora if with_adapter else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LoraPolicy(lm, task_prompt(config.prompt.task), constraints, lora)


def _fresh_policy(config: Config, lm: CausalLM) -> LoraPolicy:
    """A sampler to be trained, which starts from `model.adapter` if the config names one.

    Raises: UserError when that adapter does not fit.
    """
    policy = load_policy(config, lm)
    if config.model.adapter is not None:
        start_from(policy, adapter_folder(config.model.adapter))
    return policy


def build_reward(config: Config) -> RewardSchedule:
    """The reward schedule of a config."""
    return RewardSchedule(**asdict(config.reward))
