"""Addresses of served models, and the settings of their client."""

from __future__ import annotations

import pytest

from contraflow.errors import UserError
from contraflow.reward.oracle.served.source import is_served, parse_served
from contraflow.settings.served import ServedConfig


@pytest.mark.parametrize(
    ("text", "url", "model", "tag"),
    [
        ("openai:http://host:8000/v1#m", "http://host:8000/v1", "m", ""),
        ("openai:http://host:8000#m", "http://host:8000/v1", "m", ""),
        ("openai:https://host/#org/m-1.b", "https://host/v1", "org/m-1.b", ""),
        ("openai:https://host/api/v2/#m@rome", "https://host/api/v2", "m", "rome"),
        ("openai:http://[::1]:80/v1#@cf/m", "http://[::1]:80/v1", "@cf/m", ""),
    ],
)
def test_an_address_is_read(text: str, url: str, model: str, tag: str):
    source = parse_served(text)
    assert source.base_url == url
    assert source.model_and_tag == (model, tag)
    assert is_served(text)
    assert parse_served(str(source)) == source


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("openai:http://host:8000/v1", "names no model"),
        ("openai:http://host:8000/v1#", "names no model"),
        ("openai:host:8000/v1#m", "no http:// or https:// address"),
        ("openai:#m", "no http:// or https:// address"),
        ("openai:ftp://host/v1#m", "no http:// or https:// address"),
        ("openai:http:///v1#m", "no http:// or https:// address"),
        ("openai:http://host:eighty/v1#m", "a port that is not a number"),
        ("openai:http://host:99999/v1#m", "a port that is not a number"),
        ("openai:http://host/v1#a#b", "a second #"),
        ("openai:http://host/v1#a b", "white space"),
        ("openai:http://me:hunter2@host/v1#m", "a user or a password"),
        ("openai:http://me:hun#ter2@host/v1#m", "port that is not a number|a second #"),
        ("openai:http://host/v1?key=hunter2#m", "options"),
    ],
)
def test_a_malformed_address_is_refused_unquoted(text: str, reason: str):
    with pytest.raises(UserError, match=reason) as caught:
        parse_served(text)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "write openai:http://HOST:PORT/v1#MODEL" in str(caught.value)


def test_folders_and_hub_names_are_not_served():
    assert not is_served("openai/gpt")
    assert not is_served("packaged:minilm")


def test_only_a_local_or_encrypted_connection_is_private():
    assert parse_served("openai:http://localhost:8000/v1#m").is_private
    assert parse_served("openai:https://host/v1#m").is_private
    assert not parse_served("openai:http://host:8000/v1#m").is_private


@pytest.mark.parametrize("key", ["concurrency", "timeout_s", "max_requests", "max_tokens_total"])
def test_a_setting_out_of_range_is_refused(key: str):
    with pytest.raises(UserError, match=rf"oracle\.served\.{key}=0: must be "):
        ServedConfig(**{key: 0})
