"""An override that no run can use is an error of one line that names its key and the remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.settings import Config
from contraflow.settings.compose import compose_config
from contraflow.settings.keys import choices_of
from support.cli import Result, assert_one_error

Call = Callable[..., Result]


BAD = {
    # unknown names
    "objective.lamda=0.9": ["unknown key 'objective.lamda'", "did you mean objective.lam?"],
    "lam=0.9": ["unknown key 'lam'", "objective.lam"],
    "n_samples=4": ["exploration.n_samples", "evaluation.n_samples"],
    "+foo=1": ["unknown key 'foo'", "`contraflow config`"],
    "hydra.run.dir=x": ["unknown key 'hydra.run.dir'"],
    "quickstart": ["'quickstart' is not key=value", "experiment=quickstart"],
    "=3": ["no key before the ="],
    "objective=subtbb": ["objective=subtbb: no such choice", "did you mean subtb?", "vargrad"],
    "experiment=quickstrt": ["experiment=quickstrt", "did you mean quickstart?", "overnight"],
    "model=gpt5": ["model=gpt5", "gpt2_large", "model=any model.name="],
    # wrong types
    "exploration.n_samples=many": ["exploration.n_samples=many: must be a whole number"],
    "evaluation.n_samples=1.5": ["evaluation.n_samples=1.5: must be a whole number"],
    "optimizer.lr=fast": ["optimizer.lr=fast: must be a number"],
    "logger.csv=maybe": ["logger.csv=maybe: must be true or false"],
    "seed=null": ["seed=null: must not be null"],
    "model.lora=3": ["model.lora=3: holds several keys"],
    "objective.lam=0.1,0.9": ["has several values"],
    "prompt.task='a, {subject}": ["cannot be read", "\"prompt.task='a, {subject}'\""],
    "model.lora.target_modules=[ä,ö": ["cannot be read"],
    "~objective.lam": ["cannot be taken out"],
    "name=${nope}": ["name: ", "'nope'"],
    "data.facts=": ["data.facts is not set"],
    # values out of range
    "exploration.n_samples=0": ["exploration.n_samples=0: must be at least 1"],
    "exploration.correct_replay=maybe": ["exploration.correct_replay=maybe: must be true or false"],
    "optimizer.lr=nan": ["optimizer.lr=nan"],
    "judge.label_order=[a,b,c]": ["judge.label_order="],
}


@pytest.mark.parametrize(("override", "parts"), BAD.items(), ids=list(BAD))
def test_a_bad_override_gets_one_line(contraflow: Call, override: str, parts: list[str]) -> None:
    assert_one_error(contraflow("config", override), *parts)


# Composing takes a tenth of a second, so that these are given to the dataclasses, which check them.
OUT_OF_RANGE: list[tuple[str, Any, list[str]]] = [
    ("objective.lam", -1.0, ["objective.lam=-1", "must be above 0"]),
    ("objective.penalty", "cosh", ["objective.penalty=cosh", "huber, linex, shifted_cosh"]),
    ("objective.penalty", "huber", ["objective.bound=None: must be set with huber"]),
    ("objective.alpha", 0.0, ["objective.alpha=0.0: must be above 0"]),
    ("objective.forward_kl", 1.5, ["objective.forward_kl=1.5: must be from 0 to 1"]),
    ("objective.forward_kl_end", -1.0, ["objective.forward_kl_end=-1.0: must be from 0 to 1"]),
    (
        "objective.forward_kl_power",
        0.0,
        ["objective.forward_kl_power=0.0", "above 0 and at most 1"],
    ),
    ("objective.forward_kl_horizon", -1, ["objective.forward_kl_horizon=-1: must be 0 or more"]),
    ("objective.beta", -1.0, ["objective.beta=-1.0: must be 0 or more"]),
    (
        "exploration.distinct_weights",
        "none",
        ["distinct_weights=none", "inclusion, normalized, equal"],
    ),
    (
        "exploration.prior_share",
        1.0,
        ["exploration.prior_share=1.0: must be at least 0 and below 1"],
    ),
    ("exploration.prior_share", 0.01, ["exploration.prior_share=0.01", "both P_F and the prior"]),
    (
        "policy.min_question_len",
        30,
        ["policy.max_question_len=18: must be at least min_question_len=30"],
    ),
    ("exploration.pf_temp_low", 9.0, ["exploration.pf_temp_low=9", "pf_temp_high=1.5"]),
    ("optimizer.lr", math.inf, ["optimizer.lr=inf: must be a finite number"]),
    (
        "reward.contradiction_threshold",
        math.nan,
        ["reward.contradiction_threshold=nan: must be a finite number"],
    ),
    ("replay.capacity_per_fact", 0, ["replay.capacity_per_fact=0"]),
    ("replay.sampling", "best", ["replay.sampling=best", "newest"]),
    ("replay.near_duplicate", 2.0, ["replay.near_duplicate=2"]),
    ("replay.near_duplicate_by", "sound", ["replay.near_duplicate_by=sound", "embedding"]),
    ("replay.sampling_temp", 0.0, ["replay.sampling_temp=0"]),
    ("replay.patience_s", -1.0, ["replay.patience_s=-1"]),
    ("model.device", "gpu", ["model.device=gpu: must be auto, cpu, cuda or cuda:N"]),
    ("model.device", "mps", ["model.device=mps: must be auto, cpu", "cpu works there"]),
    ("trainer.n_steps", 0, ["trainer.n_steps=0"]),
    ("evaluation.temperature", 0.0, ["evaluation.temperature=0"]),
]


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    OUT_OF_RANGE,
    ids=[f"{key}={value}" for key, value, _ in OUT_OF_RANGE],
)
def test_a_value_out_of_range_is_refused(key: str, value: Any, parts: list[str]) -> None:
    section, name = key.split(".")
    usual = Config()
    with pytest.raises(UserError) as refused:
        replace(usual, **{section: replace(getattr(usual, section), **{name: value})})
    assert "\n" not in str(refused.value)
    for part in parts:
        assert part in str(refused.value)


def test_one_question_is_refused_where_they_are_compared(contraflow: Call) -> None:
    """Their loss compares the questions of a fact, so that of a single one is 0."""
    for name in ("vargrad", "ctb", "rloo", "grpo"):
        result = contraflow("config", f"objective={name}", "exploration.n_samples=1")
        parts = ["exploration.n_samples=1: must be at least 2", f"objective.name={name}"]
        assert_one_error(result, *parts)
        assert compose_config([f"objective={name}", "exploration.n_samples=2"]).exploration
    for name in ("subtb", "tb", "db", "modified_subtb"):
        compose_config([f"objective={name}", "exploration.n_samples=1"])


def test_the_forward_kl_compares_questions_too(contraflow: Call) -> None:
    one = ["objective=tb", "exploration.n_samples=1"]
    compose_config(one)
    result = contraflow("config", *one, "objective.forward_kl_end=0.5")
    assert_one_error(result, "exploration.n_samples=1: must be at least 2", "objective.forward_kl")


def test_the_newest_cannot_be_weighted(contraflow: Call) -> None:
    """Each draw is certain or impossible: no weight makes it a mean over the store."""
    newest = ("exploration.correct_replay=true", "replay.sampling=newest")
    assert_one_error(contraflow("config", *newest), "replay.sampling=newest: must be uniform, rank")


@pytest.mark.parametrize(
    ("with_it", "reason"),
    [
        (["objective=rloo"], "0 with objective.name=rloo"),
        (["objective.forward_kl=0.5"], "0 with objective.forward_kl"),
        (["exchange=actors", "replay=embedded"], "exchange.newest_share"),
    ],
)
def test_stored_questions_are_refused_where_they_have_no_place(
    contraflow: Call, with_it: list[str], reason: str
) -> None:
    asked = ["config", "experiment=quickstart", "exploration.n_stored=4", *with_it]
    assert_one_error(contraflow(*asked), "exploration.n_stored=4", reason)


def test_equal_weights_beside_plain_draws_are_refused(contraflow: Call) -> None:
    """They did nothing: the policy's own draws count as often as they were drawn."""
    words = ("exploration.prior_share=0.5", "exploration.distinct_weights=equal")
    result = contraflow("config", *words)
    assert_one_error(result, "exploration.distinct_weights=equal", "inclusion or normalized")
    assert contraflow("config", *words, "exploration.distinct=true").code == 0


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_policy_gradients_refuse_what_they_cannot_use(contraflow: Call, name: str) -> None:
    """They have no residuals, and learn from draws of the current policy only."""
    for setting in ("objective.penalty=linex", "objective.bound=2", "exploration.prior_share=0.5"):
        assert_one_error(contraflow("config", f"objective={name}", setting), setting.split("=")[0])


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_policy_gradients_refuse_a_mean_over_other_draws(contraflow: Call, name: str) -> None:
    """Counted once or alike, questions are no draws of the policy; weighted ones are."""
    once = [f"objective={name}", "exploration.count_repeats=false"]
    equal = [f"objective={name}", "exploration.distinct=true", "exploration.distinct_weights=equal"]
    reason = f"objective.name={name}, which learns from its own draws"
    said = "exploration.count_repeats=False: must be true"
    assert_one_error(contraflow("config", *once), said, reason, "exploration.distinct=true")
    said = "exploration.distinct_weights=equal: must be inclusion or normalized"
    assert_one_error(contraflow("config", *equal), said, reason)
    # Without distinct the weights, and with it the repeats, have no effect.
    compose_config([f"objective={name}", "exploration.distinct_weights=equal"])
    compose_config([*once, "exploration.distinct=true"])
    compose_config(["objective=vargrad", *once[1:]])


@pytest.mark.parametrize("name", ["rloo", "grpo"])
@pytest.mark.parametrize("preset", sorted(choices_of("experiment")))
def test_a_policy_gradient_is_one_word_on_a_preset(preset: str, name: str) -> None:
    words = [f"experiment={preset}", "data.facts=facts.jsonl", f"objective={name}"]
    assert compose_config(words).objective.name == name


@pytest.mark.parametrize("overrides", ["experiment=quickstart", None, [1], [None], 3, {"seed": 1}])
def test_overrides_of_python_are_a_list_of_texts(overrides: Any):
    """A text was read letter by letter: "'e' is not key=value"."""
    with pytest.raises(UserError, match=r"^overrides=.*: must be a list of texts, such as \["):
        compose_config(overrides)


@pytest.mark.parametrize(
    "overrides", [["name=../x"], ["name=/abs"], ["name=.."], ["name=a/b", "run_dir=elsewhere"]]
)
def test_a_name_that_is_a_path_is_refused(overrides: list[str]) -> None:
    with pytest.raises(UserError, match=f"^{overrides[0]}: must be a name, not a path; run_dir=…"):
        compose_config(overrides)
