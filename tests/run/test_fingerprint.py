"""Which settings make another sampler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contraflow.run.fingerprint import sampler_fingerprint
from contraflow.settings import Config, OracleConfig
from contraflow.settings.served import ServedConfig


def test_name_and_place_of_a_run_are_not_its_sampler():
    config = Config()
    moved = replace(config, name="other", run_dir="elsewhere/other")
    assert sampler_fingerprint(moved) == sampler_fingerprint(config)
    assert sampler_fingerprint(replace(config, seed=1)) != sampler_fingerprint(config)


def test_settings_of_requests_are_not_the_samplers():
    config = Config()
    patient = replace(config, oracle=OracleConfig(served=ServedConfig(concurrency=2)))
    assert sampler_fingerprint(patient) == sampler_fingerprint(config)


@pytest.mark.parametrize(
    ("room", "key", "value"),
    [
        ("objective", "alpha", 2.0),
        ("objective", "forward_kl", 0.5),
        ("exploration", "distinct", True),
        ("exploration", "correct_replay", True),
        ("exploration", "n_stored", 4),
    ],
)
def test_a_newer_setting_counts_once_it_is_set(room: str, key: str, value: object):
    config = Config()
    changed = replace(config, **{room: replace(getattr(config, room), **{key: value})})
    assert sampler_fingerprint(changed) != sampler_fingerprint(config)


@pytest.mark.parametrize("key", ["target_samples", "training_facts", "untrained", "distinct"])
def test_what_is_measured_is_not_the_sampler(key: str):
    config = Config()
    value = getattr(config.evaluation, key)
    other = replace(config.evaluation, **{key: not value if isinstance(value, bool) else value + 1})
    assert sampler_fingerprint(replace(config, evaluation=other)) == sampler_fingerprint(config)
