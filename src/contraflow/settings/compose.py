"""Hydra: packaged groups and overrides in, a checked typed `Config` or one line out.

Only composition is used. Hydra's launcher, output folders and logging never run, so nothing changes
the working folder or leaves `.hydra` behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from contraflow.errors import UserError
from contraflow.settings import Config
from contraflow.settings.keys import (
    choices_of,
    config_keys,
    group_defaults,
    override_key,
    require_known_keys,
    suggestion,
)

_MISSING = re.compile(r"Could not find '(?:([\w/]+)/)?([^']*)'")
_MERGING = re.compile(r"Error merging override (.*)", re.DOTALL)
_IN_A_FILE = re.compile(r"In '([^']*)': \w+ raised while composing config:\n(.*)", re.DOTALL)
_NOT_CONVERTED = re.compile(r"could not be converted to (\w+)")
_NO_SUCH_KEY = re.compile(r"Key '([^']*)' (?:is )?not in")
_KEY = re.compile(r"full_key: (\S+)")
_NEEDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def compose_config(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """The typed config of some overrides in Hydra's grammar; `config_dir` holds groups of the
    user's own.

    Raises: UserError, one line: an unknown key or choice, a wrong type, a value out of range or
    missing.
    """
    require_known_keys(overrides, config_dir)
    ConfigStore.instance().store(name="schema", node=Config)
    search = (
        []
        if config_dir is None
        else [f"hydra.searchpath=[{_quoted(f'file://{config_dir.resolve()}')}]"]
    )
    try:
        with initialize_config_module("contraflow.configs", version_base="1.3"):
            composed = compose("train", overrides=[*search, *map(_without_plus, overrides)])
        _require_set(composed)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(_explain(error, config_dir)) from error
    assert isinstance(config, Config)
    return config


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _without_plus(override: str) -> str:
    """Our keys are all there already, so that `+experiment=x`, as other projects want it, means the
    same.
    """
    bare = override.lstrip("+")
    return bare if override_key(bare) in {*config_keys(), *group_defaults()} else override


def _require_set(composed: DictConfig) -> None:
    """An empty text in a packaged choice (`model=any`) is what the user must say. Raises:
    UserError.
    """
    for key in config_keys():
        if OmegaConf.select(composed, key) == "":
            raise UserError(f"{key} is not set; add {key}=…")


def _explain(error: Exception, config_dir: Path | None) -> str:  # noqa: PLR0911 (one line a kind)
    text = str(error)
    if isinstance(error, MissingConfigException):
        return _no_such_choice(text, config_dir)
    if isinstance(error, MissingMandatoryValue):
        key = _key_of(error)
        return f"{key} is not set; add {key}=…"
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if text.startswith("Ambiguous value"):
        return _several(_first_quoted(text))
    if isinstance(error, YAMLError):
        return f"--config-dir: not valid YAML: {' '.join(text.split())}"
    merging = _MERGING.match(text)
    if merging:
        return f"{merging[1].strip()}: {_needs(str(error.__cause__))}"
    in_a_file = _IN_A_FILE.match(text)
    if in_a_file:
        return f"{config_dir or 'packaged'}/{in_a_file[1]}.yaml: {_key_of(error)}: {_needs(in_a_file[2])}"
    key = _key_of(error)
    return f"{f'{key}: ' if key else ''}{_needs(text)}"


def _no_such_choice(text: str, config_dir: Path | None) -> str:
    found = _MISSING.search(text)
    group, choice = (found[1] or "", found[2]) if found else ("", "")
    choices = choices_of(group, config_dir) if group else {}
    if not choices:
        return (
            f"{text.splitlines()[0]}; `contraflow train --help` lists the groups and their choices"
        )
    own = f"; for any other: {group}=any {group}.name=…" if "any" in choices else ""
    known = ", ".join(choices)
    return (
        f"{group}={choice}: no such choice{suggestion(choice, choices)}; choose one of {known}{own}"
    )


def _unreadable(override: str) -> str:
    key, _, value = override.partition("=")
    quoted = value.replace("'", "")
    return (
        f"{override}: the value cannot be read; one with commas, braces or quotes in it goes in quotes of "
        f"its own: \"{key}='{quoted}'\", and a list in brackets: '{key}=[a,b]'"
    )


def _several(override: str) -> str:
    key = override.partition("=")[0]
    return (
        f"{override}: has several values; give one, or quote a text with commas: \"{key}='a, b'\""
    )


def _first_quoted(text: str) -> str:
    return text.partition("'")[2].rpartition("'\n1.")[0]


def _needs(complaint: str) -> str:  # noqa: PLR0911 (one line a kind of complaint)
    """What a value must be, from OmegaConf's complaint about it."""
    first = complaint.splitlines()[0] if complaint else "does not fit"
    unknown = _NO_SUCH_KEY.search(first)
    if unknown:
        return f"unknown key{suggestion(unknown[1], config_keys())}"
    if "is not a subclass of" in first:
        return "holds several keys; set them one by one (`contraflow config` shows them)"
    converted = _NOT_CONVERTED.search(first)
    if converted:
        return f"must be {_NEEDS.get(converted[1], converted[1])}"
    if "not a valid bool" in first:
        return "must be true or false"
    if "is not Optional" in first:
        return "must not be null"
    if "does not support deletion" in first:
        return "a key cannot be taken out; give it another value"
    return first[:1].lower() + first[1:]


def _key_of(error: BaseException) -> str:
    """Full names are kept at the end of OmegaConf's messages."""
    key = getattr(error, "full_key", None) or (_KEY.search(str(error)) or ["", ""])[1]
    return str(key)
