"""Composition of the packaged groups and overrides to a checked `Config`, by Hydra.

Only Hydra's composition is used. Its launcher, output folders and logging never run, so that the
working folder stays the same and no `.hydra` folder is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from contraflow.errors import UserError, on_one_line
from contraflow.settings import Config
from contraflow.settings.choices import require_one_choice
from contraflow.settings.keys import (
    choices_of,
    config_keys,
    group_defaults,
    group_names,
    override_key,
    require_known_keys,
    suggestion,
    text_keys,
    text_list_keys,
)
from contraflow.settings.own_files import not_utf8, require_quoted_texts, wrong_form
from contraflow.settings.split import split_values
from contraflow.settings.unused import require_used_url

_MISSING = re.compile(r"Could not find '(?:([\w/]+)/)?([^']*)'")
_MERGING = re.compile(r"Error merging override (.*)", re.DOTALL)
_IN_A_FILE = re.compile(r"In '([^']*)': \w+ raised while composing config:\n(.*)", re.DOTALL)
_NOT_CONVERTED = re.compile(r"could not be converted to (\w+)")
_NO_SUCH_KEY = re.compile(r"Key '([^']*)' (?:is )?not in")
_KEY = re.compile(r"full_key: (\S+)")
_OPENING = ("'", '"', "[", "{", "$")  # signs of Hydra's grammar, which a text may not begin with
_NEEDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def compose_config(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Config:
    """Compose the config of overrides in Hydra's grammar.

    `config_dir`: a folder with config groups of the user.

    Raises: UserError of one line for overrides that are no list of texts, an unknown key or choice,
    a wrong type, and a value that is out of range or missing.
    """
    overrides = _as_texts(overrides)
    config_dir = None if config_dir is None else Path(config_dir)
    require_known_keys(overrides, config_dir)
    for override in overrides:
        require_one_choice(override, config_dir)
    _register_schema()
    names = {*text_keys(), *group_names(config_dir)}
    hydra_overrides = [_as_typed(_without_plus(override), names) for override in overrides]
    if config_dir is not None:
        require_quoted_texts(config_dir)
        folder = _quoted(f"file://{config_dir.resolve()}")
        hydra_overrides.insert(0, f"hydra.searchpath=[{folder}]")
    try:
        with initialize_config_module("contraflow.configs", version_base="1.3"):
            composed = compose("train", overrides=hydra_overrides)
        _require_set(composed)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(on_one_line(_explain(error, config_dir))) from error
    except UserError as error:
        raise UserError(on_one_line(error)) from error
    assert isinstance(config, Config)
    _require_name(config.name)
    require_used_url(config)
    return config


def _as_texts(overrides: object) -> list[str]:
    """The overrides of a caller in Python; a single text would be read letter by letter."""
    if isinstance(overrides, Sequence) and not isinstance(overrides, str):
        given = list(overrides)
        if all(isinstance(override, str) for override in given):
            return given
    raise UserError(
        f"overrides={overrides!r}: must be a list of texts, such as "
        '["experiment=quickstart", "seed=1"]'
    )


@cache
def _register_schema() -> None:
    ConfigStore.instance().store(name="schema", node=Config)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _without_plus(override: str) -> str:
    """Remove the plus of a known key: Hydra would reject `+experiment=x`, as the key exists."""
    bare = override.lstrip("+")
    return bare if override_key(bare) in {*config_keys(), *group_defaults()} else override


def _as_typed(override: str, names: set[str]) -> str:
    """Quote a text that Hydra would read as a number or a truth value: 1.10 stays 1.10.

    And one whose signs it cannot read at all, such as the path ~/Größe (1).jsonl.
    `names`: the keys of a text; a group is one too, as its choices are names of files. Other types,
    quoted values and null stay what they are.
    """
    head, equals, typed = override.partition("=")
    key = override_key(override)
    if key == "oracle.name" and typed.startswith("openai:"):
        return f"{head}={_quoted(typed.strip())}"  # Hydra does not read the # before a model's name
    is_list = key in text_list_keys()
    if not equals or not (is_list or key in names):
        return override
    try:
        value = OverridesParser.create().parse_override(override).value()
        if isinstance(value, (bool, int, float)) and not is_list:
            return f"{head}={_quoted(typed.strip())}"
        if is_list and isinstance(value, list):
            words = split_values(typed.strip()[1:-1])
            quoted = [
                _quoted(word) if isinstance(item, (bool, int, float)) else word
                for item, word in zip(value, words, strict=True)
            ]
            return f"{head}=[{','.join(quoted)}]" if value else override
    except (HydraException, ValueError):
        if key in text_keys() and typed.strip()[:1] not in _OPENING:
            return f"{head}={_quoted(typed.strip())}"
        # composing explains what cannot be read
    return override


def _require_set(composed: DictConfig) -> None:
    """Check that the user has set the keys that are empty in a packaged choice (`model=any`).

    Raises: UserError for the first empty one.
    """
    for key in config_keys():
        if OmegaConf.select(composed, key) == "":
            raise UserError(f"{key} is not set; add {key}=…")


def _require_name(name: str) -> None:
    """Check that the folder of a run would be one in runs/. Raises: UserError."""
    if "/" in name or name in ("", ".", ".."):
        raise UserError(
            f"name={name}: must be a name, not a path; run_dir=… says in which folder the run is"
        )


def _explain(error: Exception, config_dir: Path | None) -> str:  # noqa: PLR0911 (one per kind of error)
    """Return the one-line message for an error of Hydra, OmegaConf or YAML."""
    text = str(error)
    if isinstance(error, MissingConfigException):
        return _no_such_choice(text, config_dir)
    if isinstance(error, MissingMandatoryValue):
        key = _key_of(error)
        return f"{key} is not set; add {key}=…"
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if text.startswith("Ambiguous value"):
        return _several_values(_first_quoted(text))
    if isinstance(error, UnicodeDecodeError) and config_dir is not None:
        return f"{not_utf8(config_dir)}: is not UTF-8 ({error}); save it as UTF-8"
    if isinstance(error, YAMLError):
        return f"--config-dir: not valid YAML: {' '.join(text.split())}"
    merging = _MERGING.match(text)
    if merging:
        override = merging[1].strip()
        return f"{override}: {_needs(str(error.__cause__), override.partition('=')[2])}"
    in_a_file = _IN_A_FILE.match(text)
    if in_a_file:
        file = f"{config_dir or 'packaged'}/{in_a_file[1]}.yaml"
        problem = None if config_dir is None else wrong_form(Path(file))
        return f"{file}: {problem or f'{_key_of(error)}: {_needs(in_a_file[2])}'}"
    key = _key_of(error)
    return f"{key}: {_needs(text)}" if key else _needs(text)


def _no_such_choice(text: str, config_dir: Path | None) -> str:
    found = _MISSING.search(text)
    group = (found[1] or "") if found else ""
    choice = found[2] if found else ""
    choices = choices_of(group, config_dir) if group else {}
    if not choices:
        first = text.splitlines()[0]
        return f"{first}; `contraflow train --help` lists the groups and their choices"
    known = ", ".join(choices)
    own = f"; for any other: {group}=any {group}.name=…" if "any" in choices else ""
    meant = suggestion(choice, choices)
    return f"{group}={choice}: no such choice{meant}; choose one of {known}{own}"


def _unreadable(override: str) -> str:
    key, _, value = override.partition("=")
    quoted = value.replace("'", "")
    return (
        f"{override}: the value cannot be read; one with other signs than plain letters, digits "
        f"and - _ / . : goes in quotes of its own: \"{key}='{quoted}'\", and a list in brackets: "
        f"'{key}=[a,b]'"
    )


def _several_values(override: str) -> str:
    key = override.partition("=")[0]
    return (
        f"{override}: has several values; give one, or quote a text with commas: \"{key}='a, b'\""
    )


def _first_quoted(text: str) -> str:
    """Return the override that Hydra's "Ambiguous value" message quotes."""
    return text.partition("'")[2].rpartition("'\n1.")[0]


def _needs(message: str, typed: str = "a") -> str:  # noqa: PLR0911 (one per kind of message)
    """Return what a value must be, from OmegaConf's message about the one that was typed."""
    first = message.splitlines()[0] if message else "does not fit"
    unknown = _NO_SUCH_KEY.search(first)
    if unknown:
        return f"unknown key{suggestion(unknown[1], config_keys())}"
    if "is not a subclass of" in first:
        return "holds several keys; set them one by one (`contraflow config` shows them)"
    converted = _NOT_CONVERTED.search(first)
    if converted:
        return f"must be {_NEEDS.get(converted[1], converted[1])}"
    if "is not a ListConfig" in first:
        return f"must be a list; write [{typed}]"
    if "not a valid bool" in first:
        return "must be true or false"
    if "is not Optional" in first:
        return "must not be null"
    if "does not support deletion" in first:
        return "a key cannot be taken out; give it another value"
    return first[:1].lower() + first[1:]


def _key_of(error: BaseException) -> str:
    """Return the dotted key that an error names, or ""; OmegaConf ends its messages with it."""
    key = getattr(error, "full_key", None) or (_KEY.search(str(error)) or ["", ""])[1]
    return str(key)
