"""The names that a user may write: config groups with their choices, and every key of the typed
config.

Read from the packaged files and the dataclasses without Hydra, so that help and errors about names
are instant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from contraflow.errors import UserError
from contraflow.settings import Config

_DEFAULT = re.compile(r"^ *- (\w+): (\w+)\s*$", re.MULTILINE)


def config_folder() -> Path:
    """The packaged config groups."""
    return Path(str(resources.files("contraflow.configs")))


def group_defaults() -> dict[str, str]:
    """Each group with the choice that `train.yaml` makes; "null" where it makes none."""
    text = (config_folder() / "train.yaml").read_text(encoding="utf-8")
    return dict(_DEFAULT.findall(text))


def group_names(config_dir: Path | None = None) -> list[str]:
    """The packaged groups, then those of a user's own folder."""
    own = (
        []
        if config_dir is None
        else sorted(folder.name for folder in config_dir.iterdir() if folder.is_dir())
    )
    return list(dict.fromkeys([*group_defaults(), *own]))


def choices_of(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """The choices of a group with the first comment line of their files, the default first."""
    folders = [folder / group for folder in (config_folder(), config_dir) if folder is not None]
    files = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    default = group_defaults().get(group)
    ordered = sorted(
        (name for name in files if not name.startswith("_")), key=lambda name: name != default
    )
    return {name: _first_comment(files[name]) for name in ordered}


def _first_comment(file: Path) -> str:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").strip()
    return ""


def config_keys(kind: type[Any] = Config, prefix: str = "") -> Iterator[str]:
    """Every key of the typed config, dotted; parts (`model.lora`) before what is in them."""
    hints = get_type_hints(kind)
    for part in fields(kind):
        yield prefix + part.name
        if is_dataclass(hints[part.name]):
            yield from config_keys(hints[part.name], f"{prefix}{part.name}.")


def override_key(override: str) -> str:
    """The key of `+model.name=x`, `~model`, `++seed=1`."""
    return override.partition("=")[0].lstrip("+~")


def check_override_key(
    override: str, config_dir: Path | None = None, also: Iterable[str] = ()
) -> str | None:
    """What is wrong with the name that an override sets, or None.

    Hydra itself takes `+any.key=1` in silence, and says of a misspelt key only that a plus would
    add it.
    """
    key = override_key(override)
    if "=" not in override and not override.startswith("~"):
        groups = [
            group for group in group_names(config_dir) if override in choices_of(group, config_dir)
        ]
        meant = f" (did you mean {groups[-1]}={override}?)" if groups else ""
        return f"{override!r} is not key=value{meant}"
    if not key:
        return f"{override!r} has no key before the ="
    keys = [*config_keys(), *group_names(config_dir)]
    if key in keys:
        return None
    return f"unknown key {key!r}{suggestion(key, [*also, *keys])}"


def require_known_keys(overrides: Iterable[str], config_dir: Path | None = None) -> None:
    """Raises: UserError for the first override that sets nothing that there is."""
    for override in overrides:
        wrong = check_override_key(override, config_dir)
        if wrong is not None:
            raise UserError(f"{wrong}; `contraflow config` shows every key")


def suggestion(word: str, names: Iterable[str]) -> str:
    """ " (did you mean …?)": the names with the same last part, else the one that is spelled most
    alike.
    """
    last_of = {name: name.rpartition(".")[2] for name in names}
    last = word.rpartition(".")[2]
    close = [
        name for name, its_last in last_of.items() if last and its_last == last and name != word
    ][:3]
    close = close or difflib.get_close_matches(word, last_of, n=1, cutoff=0.75)
    if not close:
        alike = difflib.get_close_matches(last, last_of.values(), n=1, cutoff=0.75)
        close = [name for name, its_last in last_of.items() if its_last in alike][:3]
    return f" (did you mean {' or '.join(close)}?)" if close else ""
