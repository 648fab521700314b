"""Any overrides: a config, or an error of one line."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contraflow.settings import Config
from contraflow.settings.compose import compose_config
from contraflow.settings.keys import choices_of, config_keys, group_names, text_keys
from contraflow.settings.split import split_values
from fuzz.mutations import examples, or_user_error, texts

pytestmark = pytest.mark.slow

KEYS = sorted({*config_keys(), *group_names()})
# Each of them means something to a part of Hydra's or OmegaConf's grammar.
PIECES = [
    *("null", "true", "1", "-1", "1e999", "nan", "inf", "1_0", "0x1", "1.10", "on", "???", "a", ""),
    *("[", "]", "{", "}", "(", ")", ",", ":", "=", "'", '"', "\\", "$", "${", "${name}", "~", "+"),
    *("${seed}", "${nothing}", "${oc.env:HOME}", "${oc.env:NOT_SET}", "${oc.decode:'['}", "a: b"),
    *(
        "${replay}",
        "${prompt.task}",
        "${name:1}",
        "${..name}",
        "${.name}",
        "@",
        "/",
        "#",
        "%",
        "\n",
    ),
    *("[a,b]", "{a: 1}", "{r: 8}", "{name: x}", "choice(1,2)", "range(1,3)", "int(1)", "str(1)"),
    *("sort(3,1)", "glob(*)", "extend_list(1)", "\u2028", "\0", "'it''s'", "\ufeff", " ", "[[[["),
]
CHOICES = [f"{group}={choice}" for group in group_names() for choice in choices_of(group)]
VALUES = st.one_of(
    st.sampled_from(PIECES),
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.integers().map(str),
    st.floats().map(str),
    texts(),
)
OVERRIDES = st.one_of(
    st.sampled_from(CHOICES),
    st.builds(
        lambda mark, key, value: f"{mark}{key}={value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(KEYS),
        VALUES,
    ),
    st.builds(lambda mark, key: f"{mark}{key}", st.sampled_from(["~", ""]), st.sampled_from(KEYS)),
    st.builds(lambda key, value: f"{key}={value}", texts(), VALUES),
    texts(),
)


@example(overrides=["prompt.task=Fact: {subject}\nQuestion:"])
@example(overrides=["model.dtype='a\nb'"])
@given(overrides=st.lists(OVERRIDES, max_size=3))
@examples(200)
def test_overrides_are_a_config_or_an_error_of_one_line(overrides: list[str]) -> None:
    config, message = or_user_error(lambda: compose_config(overrides))
    if message is None:
        assert isinstance(config, Config)
    else:
        assert len(message.splitlines()) == 1, message


def quoted(text: str) -> str:
    """A text in Hydra's quotation marks: backslashes count twice before a mark only."""
    marked = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{marked}'"


@example(key="data.facts", value="\\0")
@example(key="data.facts", value="a\\\\'b\\")
@given(key=st.sampled_from(sorted(text_keys())), value=st.text(max_size=10))
@examples(60)
def test_a_quoted_text_is_kept_or_refused(key: str, value: str) -> None:
    config, message = or_user_error(lambda: compose_config([f"{key}={quoted(value)}"]))
    if message is not None:
        assert len(message.splitlines()) == 1, message
        return
    found = config
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


@given(text=st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@examples(1000)
def test_a_list_is_split_without_a_loss_or_refused(text: str) -> None:
    try:
        values = split_values(text)
    except ValueError as error:
        assert str(error)
        return
    assert "".join(",".join(values).split()) == "".join(text.split())
