"""A user's YAML files: texts that YAML reads as something else, and files of another form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from contraflow.errors import UserError
from contraflow.settings.keys import config_keys, text_keys, text_list_keys

_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)


class _Scalar(NamedTuple):
    key: str
    line: int
    text: str


def require_quoted_texts(config_dir: Path) -> None:
    """Check the config groups in a folder for values without quotes that would not stay as typed.

    A number that is written as it is read (`name: 7`) stays. A file that is not YAML is left to the
    composition, which explains it.

    Raises: UserError naming the file, the line and the key of the first such value.
    """
    texts = text_keys() | text_list_keys()
    for file in sorted(config_dir.glob("*/*.yaml")):
        for key, line, text in _unquoted(file):
            if key in texts and _read_as(text) != text:
                raise UserError(
                    f"{file}:{line}: {key}: {text} is read as {_read_as(text)}; "
                    f"write it in quotes: '{text}'"
                )


def wrong_form(file: Path) -> str | None:
    """What keeps a file from holding settings, with the remedy; None where its form is right.

    A file without a package sets keys of its own group, which an experiment does not have.
    """
    try:
        content = file.read_text(encoding="utf-8")
        root = yaml.compose(content, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    name = _package_of(file, content)
    first_line = ""
    if name.partition(".")[0] not in {"_global_", *config_keys()}:
        first_line = "write `# @package _global_` as its first line"
    if root is not None and not isinstance(root, yaml.MappingNode):
        return f"has no settings; {first_line and first_line + ', and '}give each as KEY: VALUE"
    return f"{first_line}, so that its keys are settings of the run" if first_line else None


def not_utf8(config_dir: Path) -> Path | None:
    """The first file in a folder that is not UTF-8; None where all are."""
    for file in sorted(config_dir.rglob("*.yaml")):
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return file
        except OSError:
            continue
    return None


def _package_of(file: Path, content: str) -> str:
    """The part of the config that a file sets: what it declares, or its group."""
    package = _PACKAGE.search(content)
    return package[1] if package and package[1] != "_group_" else file.parent.name


def _unquoted(file: Path) -> Iterator[_Scalar]:
    """Yield the plain scalars of a file under their keys in the config."""
    try:
        content = file.read_text(encoding="utf-8")
        root = yaml.compose(content, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    name = _package_of(file, content)
    prefix = "" if name == "_global_" else f"{name.removeprefix('_global_.')}."
    if isinstance(root, yaml.MappingNode):
        yield from _scalars(root, prefix)


def _scalars(node: Any, prefix: str) -> Iterator[_Scalar]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from _scalars(value, f"{name}.")
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for item in items:
            if isinstance(item, yaml.ScalarNode) and item.style is None:
                yield _Scalar(name, item.start_mark.line + 1, item.value)


def _read_as(text: str) -> str:
    """Return what becomes of a value without quotes in a key of a text; null stays null."""
    value = OmegaConf.select(OmegaConf.create(f"value: {text}"), "value")
    return text if value is None or isinstance(value, str) else str(value)
