"""Build the parts of a run from its config: the only place where settings meet models.

`assemble` is the way in; the `load_…` functions are for commands that need one part only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.models.embedder import load_embedder
from contraflow.models.identity import legacy_identity
from contraflow.models.packaged import packaged_folder
from contraflow.models.resolve import resolve_model
from contraflow.models.sources import source_of
from contraflow.policy.adapter import (
    adapter_folder,
    load_adapter,
    start_from,
)
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.replay import open_replay as open_store
from contraflow.replay.base import ReplayStore, make_namespace, scores_part, with_priorities
from contraflow.replay.existing import open_url, record_namespace, recorded_namespace
from contraflow.replay.migrate import adopt, carry_over
from contraflow.replay.vectors import quantize
from contraflow.reward.judge import Judge, NliJudge, PackagedJudge, packaged_judge_folder
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.run.answerers import delta_of_sampler, open_answerer
from contraflow.run.loading import device_of as device_of  # noqa: PLC0414 (used by others from here)
from contraflow.run.loading import load_lm as load_lm  # noqa: PLC0414
from contraflow.settings import Config, RewardConfig
from contraflow.system.progress import print_plain
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import Oracle

Role = Literal["oracle", "judge"]
ALL_ROLES: tuple[Role, ...] = ("oracle", "judge")

ENCODER = "all-minilm-l6-v2"


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
    if adapter == "fresh":
        policy = _fresh_policy(config, lm)
    else:
        policy = load_policy(config, lm, with_adapter=adapter is not None)
    if isinstance(adapter, Path):
        load_adapter(policy, adapter)
    return Parts(config, policy, oracle, judge, build_reward(config))


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


def replay_namespace(
    config: Config, policy: LoraPolicy, oracle: Oracle, judge: Judge, folder: Path | None = None
) -> str:
    """The replay namespace: two hashes, of all that token ids and reward parts depend on, and of
    all that priorities depend on.

    An older run folder keeps the namespace that it recorded, if its models still give it: one
    without the second hash, or one that identified models by config and file sizes.
    """
    parts = _namespace(config, policy, policy.lm.identity, oracle.identity, judge)
    namespace = with_priorities(parts, priority_settings(config.reward))
    recorded = None if folder is None else recorded_namespace(folder)
    if recorded == parts:
        return parts
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


def priority_settings(reward: RewardConfig) -> dict[str, float]:
    """The settings that `RewardSchedule.priority` depends on, without those of an unused term.

    The phases and the temperature are not among them: a priority is the same in every phase.
    """
    of_terms: dict[str, tuple[str, ...]] = {
        "likelihood_weight": ("likelihood_ceiling",),
        "answer_quality_weight": (),
        "entailment_weight": (),
        "answer_failure_penalty": ("answer_quality_threshold",),
        "question_failure_penalty": (),
    }
    found: dict[str, float] = {}
    for factor, others in of_terms.items():
        if getattr(reward, factor) != 0:
            found |= {name: float(getattr(reward, name)) for name in (factor, *others)}
    return found


def open_replay(
    config: Config,
    namespace: str,
    folder: Path | None = None,
    url: str | None = None,
    facts: Iterable[Fact] = (),
) -> ReplayStore:
    """Open the replay store of a config, or the one at ``url`` that another rank has opened.

    Where the folder's entries have priorities of other reward settings, they are brought along
    with new ones. Entries of older versions in the folder, which name a fact by its fact_id alone,
    are given to ``facts``.
    """
    embed = _vectors if config.replay.near_duplicate_by == "embedding" else None
    store = open_store(config.replay, namespace, run_dir=folder, url=url, embed=embed)
    if folder is None:
        return store
    try:
        if url is None:
            _bring_along(config, store, namespace, folder)
        if url is None and config.replay.store == "embedded":
            adopt(store, facts)
        record_namespace(folder, namespace)
    except BaseException:
        store.close()
        raise
    return store


def _bring_along(config: Config, store: ReplayStore, namespace: str, folder: Path) -> None:
    """Fill the store from the folder's namespace before its reward settings were changed.

    On a server of the user's the other namespace stays as it is: other runs may use it.
    """
    recorded = recorded_namespace(folder)
    address = getattr(store, "url", config.replay.url)
    if recorded in (None, namespace) or config.replay.store == "memory" or address is None:
        return
    if scores_part(recorded) != scores_part(namespace):
        return
    reward = build_reward(config)
    with open_url(address, recorded) as source:
        n = carry_over(source, store, lambda some: reward.priority(RewardParts.of(some)).tolist())
        if config.replay.store == "embedded":
            source.clear()
    if n:
        questions = "question has a new priority" if n == 1 else "questions have new priorities"
        print_plain(f"{n} stored {questions}: the reward settings changed")


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
