"""Open the replay store of a run, under a namespace that tells what its entries depend on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from torch import Tensor

from contraflow.facts import Fact
from contraflow.models.embedder import load_embedder
from contraflow.models.weights.identity import legacy_identity
from contraflow.models.weights.resolve import resolve_model
from contraflow.policy.lora import LoraPolicy
from contraflow.replay import open_replay as open_store
from contraflow.replay.base import ReplayStore, make_namespace, scores_part, with_priorities
from contraflow.replay.existing import open_url, record_namespace, recorded_namespace
from contraflow.replay.migrate import adopt, carry_over
from contraflow.replay.vectors import quantize
from contraflow.reward.judge import Judge
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardSchedule, priorities
from contraflow.run.build import build_reward
from contraflow.run.own_objects import scores_identity, shown_object
from contraflow.settings import Config, RewardConfig
from contraflow.system.progress import print_plain
from contraflow.types import Oracle


def replay_namespace(
    config: Config,
    policy: LoraPolicy,
    oracle: Oracle,
    judge: Judge,
    folder: Path | None = None,
    reward: RewardSchedule | None = None,
) -> str:
    """The replay namespace: two hashes, of all that token ids and reward parts depend on, and of
    all that priorities depend on.

    An older run folder keeps the namespace that it recorded, if its models still give it: one
    without the second hash, or one that identified models by config and file sizes.

    Args:
        reward: of the caller's own, whose priorities follow its identity; None for the config's.
    """
    parts = _namespace(config, policy, policy.lm.identity, oracle.identity, judge)
    settings: Mapping[str, float | str] = priority_settings(config.reward)
    if reward is not None:
        settings = {"own": shown_object(reward)}
    namespace = with_priorities(parts, settings)
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
        judge=scores_identity(judge),
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
    reward: RewardSchedule | None = None,
) -> ReplayStore:
    """Open the replay store of a config, or the one at ``url`` that another rank has opened.

    Where the folder's entries have priorities of other reward settings, they are brought along
    with new ones, by ``reward`` if the caller has its own. Entries of older versions in the folder,
    which name a fact by its fact_id alone, are given to ``facts``.
    """
    embed = _vectors if config.replay.near_duplicate_by == "embedding" else None
    store = open_store(config.replay, namespace, run_dir=folder, url=url, embed=embed)
    if folder is None:
        return store
    try:
        if url is None:
            own = build_reward(config) if reward is None else reward
            _bring_along(config, store, namespace, folder, own)
        if url is None and config.replay.store == "embedded":
            adopt(store, facts)
        record_namespace(folder, namespace)
    except BaseException:
        store.close()
        raise
    return store


def _bring_along(
    config: Config, store: ReplayStore, namespace: str, folder: Path, reward: RewardSchedule
) -> None:
    """Fill the store from the folder's namespace before its reward settings were changed.

    On a server of the user's the other namespace stays as it is: other runs may use it.
    """
    recorded = recorded_namespace(folder)
    address = getattr(store, "url", config.replay.url)
    if recorded in (None, namespace) or config.replay.store == "memory" or address is None:
        return
    if scores_part(recorded) != scores_part(namespace):
        return
    with open_url(address, recorded) as source:
        n = carry_over(source, store, partial(priorities, reward))
        if config.replay.store == "embedded":
            source.clear()
    if n:
        questions = "question has a new priority" if n == 1 else "questions have new priorities"
        print_plain(f"{n} stored {questions}: the reward settings changed")


def _vectors(texts: list[str]) -> list[bytes]:
    return quantize(_embedder()(texts).tolist())


@cache
def _embedder() -> Callable[[list[str]], Tensor]:
    return load_embedder()
