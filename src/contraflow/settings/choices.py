"""Words of Hydra that would leave a group without the choice that the user meant."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError, on_one_line
from contraflow.settings.keys import choices_of, group_names, override_key


def require_one_choice(override: str, config_dir: Path | None = None) -> None:
    """Refuse to take out a key or a group, and a list or null for a group.

    Hydra takes the group's file out, so that the defaults of the dataclasses are left, of a list
    the last choice wins, and its message about null names no group.

    Raises: UserError with the choices.
    """
    key = override_key(override)
    word = on_one_line(override)
    is_group = key in group_names(config_dir)
    if override.startswith("~"):
        remedy = f"give it a choice: {_choices(key, config_dir)}" if is_group else "give it a value"
        kind = "group" if is_group else "key"
        raise UserError(f"{word}: a {kind} cannot be taken out; {remedy}")
    value = override.partition("=")[2].strip()
    if not is_group:
        return
    if value.startswith("[") or value.lower() == "null":
        raise UserError(f"{word}: takes one choice, of {_choices(key, config_dir)}")


def _choices(group: str, config_dir: Path | None) -> str:
    return ", ".join(choices_of(group, config_dir))
