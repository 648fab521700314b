"""Build the parts of a run from its config: the only place where settings meet models.

`assemble` is the way in; the `load_…` functions are for commands that need one part only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from contraflow.errors import UserError
from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
)
from contraflow.models.causal_lm import CausalLM
from contraflow.models.embedder import load_embedder
from contraflow.models.identity import legacy_identity, model_identity
from contraflow.models.packaged import packaged_folder
from contraflow.models.probe import checked_lm
from contraflow.models.quantized import keep_differentiable, quantization_arguments
from contraflow.models.recompute import recompute_layers
from contraflow.models.resolve import resolve_model
from contraflow.policy.adapter import load_adapter
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.replay import open_replay as open_store
from contraflow.replay.base import ReplayStore, make_namespace
from contraflow.replay.existing import record_namespace, recorded_namespace
from contraflow.replay.vectors import quantize
from contraflow.reward.judge import Judge, NliJudge, PackagedJudge, packaged_judge_folder
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings import MAY_CHANGE, Config, flat, shown_settings
from contraflow.system.progress import print_plain
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import Oracle

Role = Literal["oracle", "judge"]
ALL_ROLES: tuple[Role, ...] = ("oracle", "judge")

ENCODER = "all-minilm-l6-v2"

# Keys that do not affect the weights of a sampler at a given step.
_NOT_IN_FINGERPRINT = MAY_CHANGE


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
        return replace(self, policy=load_policy(self.config, self.policy.lm))


def assemble(
    config: Config,
    *,
    adapter: Path | Literal["fresh"] | None,
    roles: Collection[Role] = ALL_ROLES,
) -> Parts:
    """Load the models of a config, each of them once.

    Args:
        adapter: a folder with a trained adapter, ``"fresh"`` for one to be trained, None for the
            backbone alone.
        roles: what this process does besides sampling.
    Raises: UserError when a model cannot be loaded or the adapter does not fit.
    """
    lm = load_lm(config)
    oracle = load_oracle(config, lm) if "oracle" in roles else None
    judge = load_judge(config) if "judge" in roles else None
    policy = load_policy(config, lm, with_adapter=adapter is not None)
    if isinstance(adapter, Path):
        load_adapter(policy, adapter)
    return Parts(config, policy, oracle, judge, build_reward(config))


def device_of(config: Config) -> torch.device:
    """The device of a config; ``auto`` is a GPU where there is one."""
    if config.model.device != "auto":
        return torch.device(config.model.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_lm(config: Config, name: str | None = None, kind: str = "sampler") -> CausalLM:
    """Load a causal language model, frozen and in eval mode.

    Args:
        name: a checkpoint other than `model.name`, such as the oracle's.
        kind: what the model is for, named in errors.
    Raises: UserError for a model that does not exist, cannot be loaded, or is not supported.
    """
    c = config.model
    device = device_of(config)
    dtype = getattr(torch, c.dtype)
    quantization = {} if c.quantize is None else quantization_arguments(c.quantize, dtype, device)
    folder = resolve_model(name or c.name, kind)
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **quantization)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"{kind} {name or c.name}: cannot load a causal LM ({reason})") from error
    if quantization:  # bitsandbytes has put the weights on the device
        keep_differentiable(model)
    else:
        model.to(device)
    model.eval().requires_grad_(False)
    if c.gradient_checkpointing:
        recompute_layers(model)
    decoding: Any = c.decoding  # one of the three, by ModelConfig
    identity = model_identity(folder, dtype=c.dtype, quantize=c.quantize)
    return checked_lm(model, tokenizer, identity=identity, decoding=decoding)


def load_oracle(config: Config, lm: CausalLM) -> Oracle:
    """The sampler's own backbone with its adapter off, or another checkpoint."""
    own = config.oracle.name
    model = lm if own is None or own == config.model.name else load_lm(config, own, "oracle")
    return FrozenLMOracle(model, answer_prompt(config.prompt.answer), config.oracle)


def load_judge(config: Config) -> Judge:
    """The packaged judge, or any NLI checkpoint."""
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


def build_reward(config: Config) -> RewardSchedule:
    """The reward schedule of a config."""
    return RewardSchedule(**asdict(config.reward))


def build_objective(config: Config) -> Objective:
    """The objective of a config."""
    lam = config.objective.lam
    bound = config.objective.bound
    makers: dict[str, Callable[[], Objective]] = {
        "subtb": lambda: SubTB(lam, bound=bound),
        "tb": lambda: TrajectoryBalance(bound),
        "db": lambda: DetailedBalance(bound),
        "vargrad": lambda: VarGrad(bound),
        "modified_subtb": lambda: ModifiedSubTB(lam, bound),
        "ctb": lambda: ContrastiveTB(bound),
    }
    return makers[config.objective.name]()


def replay_namespace(
    config: Config, policy: LoraPolicy, oracle: Oracle, judge: Judge, folder: Path | None = None
) -> str:
    """The replay namespace: a hash of everything that rewards and token ids depend on.

    An older run folder keeps the namespace that it recorded, which identified models by config
    and file sizes, if its models still give it.
    """
    namespace = _namespace(config, policy, policy.lm.identity, oracle.identity, judge)
    recorded = None if folder is None else recorded_namespace(folder)
    if recorded in (None, namespace) or not isinstance(oracle, FrozenLMOracle):
        return namespace
    quantize = config.model.quantize
    sampler = legacy_identity(resolve_model(config.model.name, "sampler"), quantize)
    answering = resolve_model(config.oracle.name or config.model.name, "oracle")
    identity = oracle.legacy_identity
    identity = identity.replace(oracle.lm.identity, legacy_identity(answering, quantize), 1)
    legacy = _namespace(config, policy, sampler, identity, judge)
    return legacy if recorded == legacy else namespace


def _namespace(config: Config, policy: LoraPolicy, sampler: str, oracle: str, judge: Judge) -> str:
    return make_namespace(
        prompt=policy.prompt.identity + json.dumps(asdict(config.policy), sort_keys=True),
        tokenizer=sampler,
        oracle=oracle,
        judge=judge.identity,
    )


def open_replay(
    config: Config, namespace: str, folder: Path | None = None, url: str | None = None
) -> ReplayStore:
    """Open the replay store of a config, or the one at ``url`` that another rank has opened."""
    if folder is not None:
        record_namespace(folder, namespace)
    embed = _vectors if config.replay.near_duplicate_by == "embedding" else None
    return open_store(config.replay, namespace, run_dir=folder, url=url, embed=embed)


def sampler_fingerprint(config: Config) -> str:
    """Identify a sampler: a hash of the settings that its weights at a given step depend on."""
    settings = flat(shown_settings(config))
    deciding = {k: v for k, v in settings.items() if not k.startswith(_NOT_IN_FINGERPRINT)}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


@cache
def why_no_encoder() -> str | None:
    """Prepare the packaged sentence encoder: None where it is there, or why it cannot be had.

    Two metrics need it. A machine that has its models in folders, and no network, does without.
    The reason is printed once.
    """
    try:
        packaged_folder(ENCODER)
    except UserError as error:
        print_plain(f"the metrics embedding_distance and vendi are left out: {error}")
        return str(error)
    return None


def check_encoder(config: Config) -> None:
    """Prepare the sentence encoder before any model loads, if the run will use it.

    Raises: UserError where it is needed and cannot be had.
    """
    if config.replay.near_duplicate_by == "embedding":
        try:
            packaged_folder(ENCODER)
        except UserError as error:
            raise UserError(
                f"replay.near_duplicate_by=embedding needs the packaged encoder: {error}; or set "
                "replay.near_duplicate_by=tokens"
            ) from None
    # The packaged judge is the same model, and is prepared, or refused, with the others.
    elif config.evaluation.enabled and not config.judge.name.startswith("packaged:"):
        why_no_encoder()


def _vectors(texts: list[str]) -> list[bytes]:
    return quantize(_embedder()(texts).tolist())


@cache
def _embedder() -> Callable[[list[str]], Tensor]:
    return load_embedder()
