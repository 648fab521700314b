"""Checks that find an error before anything slow is imported, loaded or downloaded."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contraflow.errors import UserError
from contraflow.settings import Config
from contraflow.system.destinations import file_behind, is_stream, is_unusable
from contraflow.system.run_names import SHIPPED, UNTRAINED, run_folder
from contraflow.system.writable import check_out_folder, not_writable, try_writing


def check_out_file(key: str, path: Path) -> None:
    """Create the parent folder of an output file and try to write there.

    Of a link, that is the folder of the file that it leads to. A named pipe or a character device
    is only asked for its permissions: a pipe that is opened would wait for its reader.

    Raises: UserError.
    """
    if path.is_dir():
        raise UserError(f"{key}={path}: is a folder; give a file in it")
    if is_unusable(path):
        raise UserError(f"{key}={path}: is a disk or a socket; give a file, or a named pipe")
    try:
        if is_stream(path):
            _check_permission(path)
            return
        folder = file_behind(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        try_writing(folder)
    except OSError as error:
        raise not_writable(key, path, error) from None


def _check_permission(stream: Path) -> None:
    if not os.access(stream, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(stream))


def check_run(run: str) -> None:
    """Raises: UserError unless a run is "untrained" or a folder with settings and an adapter."""
    if run == UNTRAINED:
        return
    folder = run_folder(run)
    if not (folder / "config.yaml").is_file():
        reason = "not a run folder (no config.yaml)" if folder.is_dir() else "no such run folder"
        raise UserError(
            f"run={run}: {reason}; "
            f"give a folder that `contraflow train` has written, run={SHIPPED} or run={UNTRAINED}"
        )
    if not (folder / "adapter" / "adapter_model.safetensors").is_file():
        raise UserError(
            f"run={run}: has no trained adapter yet; "
            f"finish it with `contraflow train` and its settings, or use run={UNTRAINED}"
        )


def check_training(config: Config) -> None:
    """Run every check that a training run allows before it loads a model. Raises: UserError."""
    from contraflow.actors.checks import check_actors
    from contraflow.run.own_files import check_own_files

    check_prompts(config)
    check_actors(config)
    if config.data.facts is not None:
        _check_facts(config.data.facts)
    check_own_files(Path(config.run_dir), config.data.facts)
    check_out_folder("run_dir", Path(config.run_dir))
    _check_wandb(config)
    _check_start(config)
    check_models(config)
    check_replay(config)


def _check_facts(path: str) -> None:
    """Raises: UserError for a file that is not readable, or has no facts for a part of a run."""
    from contraflow.facts import read_facts, split_facts
    from contraflow.facts.notes import require_trainable

    require_trainable(split_facts(read_facts(path)), path)


def _check_start(config: Config) -> None:
    """Check the adapter that a run starts from, as far as that needs no model."""
    if config.model.adapter is None:
        return
    from contraflow.policy.adapter import check_start

    check_start(config.model.adapter, config.model.lora)


def check_prompts(config: Config) -> None:
    """Raises: UserError for a template with an unknown or missing placeholder."""
    from contraflow.text.prompts import answer_prompt, task_prompt

    task_prompt(config.prompt.task)
    answer_prompt(config.prompt.answer)


def check_models(config: Config, kinds: Sequence[str] = ("sampler", "oracle", "judge")) -> None:
    """Find every model that is not packaged, in a folder, the hub's cache or on the hub.

    Also checks that the package for `model.quantize` is installed. Packaged models are skipped:
    preparing one takes longer than a user should wait for an error about another.

    Raises: UserError.
    """
    from contraflow.models.weights.quantized import check_quantization
    from contraflow.models.weights.resolve import resolve_model

    if set(kinds) != {"judge"}:
        check_quantization(config.model.quantize)
    for kind, name in model_names(config).items():
        if kind not in kinds or is_packaged(name):
            continue
        if kind == "oracle":
            # Where there is a judge, answers are scored.
            check_oracle(config, scored="judge" in kinds)
        else:
            resolve_model(name, kind)


def check_oracle(config: Config, *, scored: bool = True) -> None:
    """Check an oracle in any of its forms; a served one is asked for one token.

    A delta stands on the sampler's backbone.

    Args:
        scored: whether the reward needs log P of each answer, which not every server gives.
    Raises: UserError.
    """
    from contraflow.models.weights.sources import check_source, source_of

    name = config.oracle.name or ""
    form = source_of(name).form
    if form == "served":
        from contraflow.reward.oracle.served.oracle import check_served

        check_served(name, config.oracle.served, needs_log_p=scored)
        return
    check_source(name, "oracle", has_control=form == "delta", model_name=config.model.name)


def model_names(config: Config) -> dict[str, str]:
    """The model name of sampler, judge and, if separate, oracle.

    Raises: UserError for an unknown packaged model.
    """
    names = {"sampler": config.model.name, "judge": config.judge.name}
    if config.oracle.name is not None:
        names["oracle"] = config.oracle.name
    for kind, name in names.items():
        _check_packaged_name(kind, name)
    return names


def is_packaged(name: str) -> bool:
    """Whether a name is `packaged:NAME`, as opposed to a folder or a name on the hub."""
    return name.startswith("packaged:")


def _check_packaged_name(kind: str, name: str) -> None:
    from contraflow.models.weights.packaged import PACKAGES

    if kind == "judge":
        usable = ["minilm"]
    else:
        usable = [package for package in PACKAGES if "minilm" not in package]
    if is_packaged(name) and name.removeprefix("packaged:") not in usable:
        known = ", ".join(f"packaged:{package}" for package in usable)
        raise UserError(f"{kind} {name}: no such packaged model; there is {known}")


def check_replay(config: Config) -> None:
    """Try every command of a run on the user's own replay server, without waiting for it.

    The embedded server starts with the run, and the memory store cannot fail.
    """
    if config.replay.store != "redis" or config.replay.url is None:
        return
    from contraflow.replay.redis import RedisReplay

    # A namespace of its own: another run may check the same server now.
    namespace = f"check-{uuid.uuid4().hex}"
    settings = replace(config.replay, patience_s=0.0)
    with RedisReplay(namespace, settings, config.replay.url) as store:
        store.check_access()


def _check_wandb(config: Config) -> None:
    """For an online run, check with W&B's server that there is a valid key; never prompts."""
    if config.logger.wandb != "online":
        return
    import wandb

    remedy = "logger.wandb=offline keeps the run here, and `wandb sync` sends it later"
    wandb.setup(wandb.Settings(silent=True, mode="online"))
    try:
        logged_in = wandb.login(prompt=False, verify=True)
    except wandb.Error as error:
        raise UserError(f"logger.wandb=online: {error}; {remedy}") from error
    if not logged_in:
        raise UserError(
            "logger.wandb=online needs a key: run `wandb login` once, or set WANDB_API_KEY; "
            f"{remedy}"
        )
