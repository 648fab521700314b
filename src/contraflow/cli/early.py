"""What can be known to fail before anything slow is imported, loaded or downloaded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from contraflow.errors import UserError
from contraflow.settings import Config

UNTRAINED = "untrained"


def check_out_file(key: str, path: Path) -> None:
    """Make the folder of a file that will be written and try it. Raises: UserError."""
    if path.is_dir():
        raise UserError(f"{key}={path}: is a folder; give a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _try_folder(path.parent)
    except OSError as error:
        raise _not_writable(f"{key}={path}", error, key) from None


def check_out_folder(key: str, folder: Path) -> None:
    """Try the nearest folder that is there already; nothing is made. Raises: UserError."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        _try_folder(there)
    except OSError as error:
        raise _not_writable(f"{key}={folder}", error, key) from None


def _try_folder(folder: Path) -> None:
    # Asking the permission bits is not enough: they say nothing of a read-only or full disk.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 4096)


def _not_writable(what: str, error: OSError, key: str) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"{what}: cannot be written ({reason}); free or unlock that folder, or choose another {key}=…"
    )


def check_run(run: str) -> None:
    """Raises: UserError when a run is neither "untrained" nor a folder with settings and an
    adapter.
    """
    if run == UNTRAINED:
        return
    folder = Path(run).expanduser()
    if not (folder / "config.yaml").is_file():
        what = "not a run folder (no config.yaml)" if folder.is_dir() else "no such run folder"
        raise UserError(
            f"run={run}: {what}; give a folder that `contraflow train` has written, or run={UNTRAINED}"
        )
    if not (folder / "adapter" / "adapter_model.safetensors").is_file():
        raise UserError(
            f"run={run}: has no trained adapter yet; finish it with `contraflow train` and its settings, "
            f"or use run={UNTRAINED}"
        )


def check_training(config: Config) -> None:
    """All that a training run needs and that can be looked at first. Raises: UserError."""
    from contraflow.facts import read_facts

    check_prompts(config)
    if config.data.facts is not None:
        read_facts(config.data.facts)
    check_out_folder("run_dir", Path(config.run_dir))
    _check_wandb(config)
    check_models(config)
    _check_replay(config)


def check_prompts(config: Config) -> None:
    """Raises: UserError for a template with an unknown or missing placeholder."""
    from contraflow.text.prompts import answer_prompt, task_prompt

    task_prompt(config.prompt.task)
    answer_prompt(config.prompt.answer)


def check_models(config: Config, kinds: Sequence[str] = ("sampler", "oracle", "judge")) -> None:
    """Find the models that are not packaged, in a folder, in the hub's cache, or on the hub, and
    what reads them.

    The packaged ones are left for later, because preparing one takes longer than a user should wait
    for an error about another. Raises: UserError.
    """
    from contraflow.models.quantized import check_quantize
    from contraflow.models.resolve import resolve_model

    if set(kinds) != {"judge"}:
        check_quantize(config.model.quantize)
    for kind, name in models_of(config).items():
        if kind in kinds and not is_packaged(name):
            resolve_model(name, kind)


def models_of(config: Config) -> dict[str, str]:
    """What each part is made of. Raises: UserError for a packaged name that there is not."""
    named = {"sampler": config.model.name, "judge": config.judge.name}
    if config.oracle.name is not None:
        named["oracle"] = config.oracle.name
    return {kind: _known_package(kind, name) for kind, name in named.items()}


def is_packaged(name: str) -> bool:
    """`packaged:NAME`, as opposed to a folder or a name on the hub."""
    return name.startswith("packaged:")


def _known_package(kind: str, name: str) -> str:
    from contraflow.models.packaged import PACKAGES

    fit = (
        ["minilm"]
        if kind == "judge"
        else [package for package in PACKAGES if "minilm" not in package]
    )
    if is_packaged(name) and name.removeprefix("packaged:") not in fit:
        known = ", ".join(f"packaged:{package}" for package in fit)
        raise UserError(f"{kind} {name}: no such packaged model; there is {known}")
    return name


def _check_replay(config: Config) -> None:
    """Knock at the user's own server. The embedded one starts with the run; the memory store cannot
    fail.
    """
    if config.replay.store != "redis":
        return
    from contraflow.replay import open_replay

    open_replay(config.replay, "knock").close()


def _check_wandb(config: Config) -> None:
    """Ask W&B's server for an online run: is there a key, and does it take it? It never asks for a
    login.
    """
    if config.logger.wandb != "online":
        return
    import wandb

    remedy = "logger.wandb=offline keeps the run here, and `wandb sync` sends it later"
    wandb.setup(wandb.Settings(silent=True, mode="online"))
    try:
        known = wandb.login(prompt=False, verify=True)
    except wandb.Error as error:
        raise UserError(f"logger.wandb=online: {error}; {remedy}") from error
    if not known:
        raise UserError(
            f"logger.wandb=online needs a key: run `wandb login` once, or set WANDB_API_KEY; {remedy}"
        )
