"""HTML as a tree of calls: every plain string is escaped, and texts of data are isolated."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"br", "input"})


class Markup(str):
    """HTML that needs no escaping."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Attribute = str | float | bool | None


def tag(name: str, *children: Child, **attributes: Attribute) -> Markup:
    """An element. Strings that are no `Markup` are escaped; None and "" are left out.

    Attributes: a trailing underscore is dropped (`class_`), others become hyphens (`aria_label`);
    None and False leave an attribute out.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Children one after the other, escaped where they are plain text."""
    return Markup("".join(_flat(children)))


def data(text: str) -> Markup:
    """A text of somebody's file or model: its own direction, so that it cannot turn its
    surroundings round.
    """
    return tag("bdi", text)


def _flat(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str):
            yield html.escape(child)
        elif child is not None:
            yield from _flat(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'
