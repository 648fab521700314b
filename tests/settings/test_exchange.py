"""Settings of `exchange=actors`, and what they refuse before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contraflow.errors import UserError
from contraflow.settings import MAY_CHANGE, ExchangeConfig
from contraflow.settings.compose import compose_config
from contraflow.settings.keys import config_keys

ACTORS = ("exchange=actors", "replay=embedded")


def test_actors_are_chosen_by_one_word_and_their_number():
    exchange = compose_config([*ACTORS, "exchange.actors=7"]).exchange
    assert (exchange.kind, exchange.actors, exchange.address) == ("actors", 7, None)


@pytest.mark.parametrize("address", ["auto", "head:6379", "192.0.2.7:1", "[::1]:65535"])
def test_an_address_is_auto_or_a_host_with_a_port(address: str):
    assert compose_config([*ACTORS, f"exchange.address='{address}'"]).exchange.address == address


WHOLE = "from 0 to 1, or a whole number"
ADDRESS = "auto, HOST:PORT of a Ray head, or null"


@pytest.mark.parametrize(
    ("key", "value", "needs"),
    [
        ("actors", 0, "at least 1"),
        ("newest_share", 0.0, "above 0 and at most 1"),
        ("newest_share", 1.2, "above 0 and at most 1"),
        ("publish_every", 0, "at least 1"),
        ("max_staleness", -1, "0 or more"),
        ("max_reuse", 0, "at least 1"),
        ("actor_cpus", 0.0, "above 0"),
        ("actor_gpus", 1.5, WHOLE),
        ("actor_gpus", -1.0, WHOLE),
        ("address", "head", ADDRESS),
        ("address", "head:70000", ADDRESS),
        ("address", "ray://head:10001", ADDRESS),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(key: str, value: object, needs: str):
    with pytest.raises(UserError) as refused:
        replace(ExchangeConfig(kind="actors"), **{key: value})
    assert str(refused.value).startswith(f"exchange.{key}={value}: ")
    assert needs in str(refused.value)


def test_a_wrong_override_is_refused_by_its_key():
    with pytest.raises(UserError) as refused:
        compose_config([*ACTORS, "exchange.actors=0"])
    assert str(refused.value).startswith("exchange.actors=0: ")
    assert "at least 1" in str(refused.value)


def test_actors_may_have_several_learners():
    assert compose_config([*ACTORS, "trainer.devices=2"]).trainer.devices == 2


def test_a_resumed_run_may_have_other_actors_but_not_bounds():
    keys = [key for key in config_keys() if key.startswith("exchange.")]
    assert {key for key in keys if key.startswith(MAY_CHANGE)} == {
        f"exchange.{key}" for key in ("timeout_s", "actors", "address", "actor_cpus", "actor_gpus")
    }
