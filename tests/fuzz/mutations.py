"""Strategies for damaged input, shared by the fuzz tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from contraflow.errors import UserError

# Bytes and texts that readers of text, JSON and CSV treat in a special way.
SPECIAL_BYTES = [
    *(b"\n", b"\r", b"\r\n", b"\0", b"\t", b"\x0b", b"\x1c", b"\x85", b"\xff", b"\xed\xa0\x80"),
    *(b"\xef\xbb\xbf", b'"', b'""', b"'", b",", b";", b"\\", b"\\ud800", b"{", b"}", b"[", b"]"),
    *(b"[" * 3000, b"null", b"true", b"NaN", b"1e999", b"-1", b"9" * 400, b"\xe2\x80\xa8"),
]
SPECIAL_TEXTS = [
    *("", " ", "\n", "\r", "\0", "\ufeff", "\u2028", "\u0130", "\U0001f600", "?", ".", "{}", "it"),
    *('"', "'", "'=1", "=1", "a, b", "a;b", "nan", "NaN", "None", "{subject}", "'s", ", who", "²"),
]


def examples(count: int) -> settings:
    """Settings of a fuzz test: `count` examples, and no limit of time for any of them.

    A fixture may be shared by the examples, because each of them overwrites its files.
    """
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


@st.composite
def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], good: bytes) -> bytes:
    """Return `good` after up to four cuts, insertions, replacements or repetitions."""
    data = good
    patch = st.one_of(st.sampled_from(SPECIAL_BYTES), st.binary(min_size=1, max_size=4))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["insert", "replace", "delete", "repeat", "cut"])):
            case "insert":
                data = data[:start] + draw(patch) + data[start:]
            case "replace":
                data = data[:start] + draw(patch) + data[end:]
            case "delete":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:]
            case "cut":
                data = data[:start]
    return data


def texts() -> st.SearchStrategy[str]:
    """Any text without lone surrogates, which UTF-8 cannot hold."""
    return st.one_of(
        st.sampled_from(SPECIAL_TEXTS),
        st.text(max_size=12),
        st.lists(st.sampled_from([*SPECIAL_TEXTS, "Lyon", "is", " "]), max_size=6).map("".join),
    )


def json_values() -> st.SearchStrategy[Any]:
    """Any value of JSON, small."""
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(texts(), inner, max_size=3)
        ),
        max_leaves=5,
    )


@st.composite
def changed(draw: Callable[[st.SearchStrategy[Any]], Any], tree: Any) -> Any:
    """Return a JSON tree in which one place has been replaced, removed or added."""
    is_leaf = not isinstance(tree, dict | list) or not tree
    if is_leaf or draw(st.integers(0, 9)) == 0:
        return draw(json_values())
    if isinstance(tree, list):
        place = draw(st.integers(0, len(tree) - 1))
        action = draw(st.sampled_from(["inside", "remove", "repeat"]))
        kept = [] if action == "remove" else [tree[place]]
        if action == "inside":
            kept = [draw(changed(tree[place]))]
        return [*tree[:place], *kept, *tree[place + (action != "repeat") :]]
    key = draw(st.sampled_from(sorted(tree)))
    action = draw(st.sampled_from(["inside", "inside", "remove", "add"]))
    if action == "remove":
        return {name: value for name, value in tree.items() if name != key}
    if action == "add":
        return {**tree, draw(texts()): draw(json_values())}
    return {**tree, key: draw(changed(tree[key]))}


def or_user_error(call: Callable[[], Any]) -> tuple[Any, str | None]:
    """Return (result, None) or (None, message of the UserError); other exceptions pass."""
    try:
        return call(), None
    except UserError as error:
        assert str(error).strip()
        return None, str(error)


def non_blank_lines(data: bytes) -> list[bytes]:
    """Return the non-blank lines, without a UTF-8 byte order mark."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line for line in lines if line.strip()]
