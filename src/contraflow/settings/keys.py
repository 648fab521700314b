"""The names that a user may write: config groups, their choices, and the keys of the config.

They are read from the packaged files and the dataclasses without Hydra, so that help and errors
about names need no slow import.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from contraflow.errors import UserError
from contraflow.settings import Config

_DEFAULT = re.compile(r"^ *- (\w+): (\w+)\s*$", re.MULTILINE)


def config_folder() -> Path:
    """Return the folder of the packaged config groups."""
    return Path(str(resources.files("contraflow.configs")))


def group_defaults() -> dict[str, str]:
    """Return the default choice of each group in `train.yaml`; "null" if it has none."""
    text = (config_folder() / "train.yaml").read_text(encoding="utf-8")
    return dict(_DEFAULT.findall(text))


def group_names(config_dir: Path | None = None) -> list[str]:
    """Return the packaged groups, then those in the folder of the user."""
    names = list(group_defaults())
    if config_dir is not None:
        names += sorted(folder.name for folder in config_dir.iterdir() if folder.is_dir())
    return list(dict.fromkeys(names))


def choices_of(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """Return the choices of a group with the first comment of their files, the default first."""
    files: dict[str, Path] = {}
    for folder in (config_folder(), config_dir):
        if folder is not None:
            files |= {file.stem: file for file in sorted((folder / group).glob("*.yaml"))}
    default = group_defaults().get(group)
    names = [name for name in files if not name.startswith("_")]
    names.sort(key=lambda name: name != default)
    return {name: _first_comment(files[name]) for name in names}


def _first_comment(file: Path) -> str:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").strip()
    return ""


def config_keys(kind: type[Any] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the config; a section (`model.lora`) comes before its keys."""
    hints = get_type_hints(kind)
    for item in fields(kind):
        yield prefix + item.name
        if is_dataclass(hints[item.name]):
            yield from config_keys(hints[item.name], f"{prefix}{item.name}.")


@cache
def text_keys() -> frozenset[str]:
    """Return the keys whose values are texts, such as `name` and `replay.url`."""
    return frozenset(key for key, hint in _types() if hint is str or _is_optional_text(hint))


def _is_optional_text(hint: Any) -> bool:
    return set(get_args(hint)) == {str, NoneType}


@cache
def text_list_keys() -> frozenset[str]:
    """Return the keys whose values are lists of texts."""
    return frozenset(key for key, hint in _types() if list[str] in (hint, *get_args(hint)))


def _types(kind: type[Any] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys, without the sections, with the types of their values."""
    hints = get_type_hints(kind)
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            yield from _types(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, hints[item.name]


def override_key(override: str) -> str:
    """Return the key of an override such as `+model.name=x`, `~model` or `++seed=1`."""
    return override.partition("=")[0].lstrip("+~")


def check_override_key(
    override: str, config_dir: Path | None = None, also: Iterable[str] = ()
) -> str | None:
    """Return the message about an override without a valid key, or None if the key is valid.

    `also`: further names to suggest. Hydra accepts `+any.key=1` silently, and for a misspelled key
    it only proposes to add it with a plus.
    """
    key = override_key(override)
    if "=" not in override and not override.startswith("~"):
        meant = ""
        for group in group_names(config_dir):
            if override in choices_of(group, config_dir):
                meant = f" (did you mean {group}={override}?)"
        return f"{override!r} is not key=value{meant}"
    if not key:
        return f"{override!r} has no key before the ="
    keys = [*config_keys(), *group_names(config_dir)]
    if key in keys:
        return None
    return f"unknown key {key!r}{suggestion(key, [*also, *keys])}"


def require_known_keys(overrides: Iterable[str], config_dir: Path | None = None) -> None:
    """Check the keys of all overrides. Raises: UserError for the first unknown one."""
    for override in overrides:
        problem = check_override_key(override, config_dir)
        if problem is not None:
            raise UserError(f"{problem}; `contraflow config` shows every key")


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return " (did you mean …?)" with up to three similar names, or "" if there are none.

    Names with the same last part come first, then the name with the most similar spelling, then the
    names with the most similar last part.
    """
    last_part_of = {name: name.rpartition(".")[2] for name in names}
    last_part = word.rpartition(".")[2]
    close: list[str] = []
    if last_part:
        close = [name for name, part in last_part_of.items() if part == last_part and name != word]
    if not close:
        close = difflib.get_close_matches(word, last_part_of, n=1, cutoff=0.75)
    if not close:
        parts = difflib.get_close_matches(last_part, last_part_of.values(), n=1, cutoff=0.75)
        close = [name for name, part in last_part_of.items() if part in parts]
    return f" (did you mean {' or '.join(close[:3])}?)" if close else ""
