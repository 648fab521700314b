"""What a request is called and how it is shown, without any model."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.auditing.request import AuditRequest, check_models
from contraflow.errors import UserError

SERVED = "openai:http://localhost:8000/v1"


def request(*edited: str, **more: object) -> AuditRequest:
    return AuditRequest(edits=Path("e.jsonl"), out=Path("out"), edited=edited, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edited", "names"),
    [
        (("models/rome/", "lora"), ("rome", "lora")),
        (("rome/delta.safetensors", "lora/delta.safetensors"),) * 2,
        ((f"{SERVED}#edited",), ("edited (localhost:8000)",)),
        ((f"{SERVED}#org/edited@v2",), ("org/edited@v2 (localhost:8000)",)),
    ],
)
def test_names_tell_the_models_apart(edited: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert request(*edited).model_names == names


def test_names_that_are_given_are_kept() -> None:
    assert request("a", names=("rome",)).model_names == ("rome",)


def test_settings_are_shown_as_they_were_given_without_logins() -> None:
    overrides = ("oracle.max_answer_tokens=30", "replay.url=redis://me:secret@host/0")
    shown = request("a", overrides=(*overrides, "--config-dir=/mine"), n=8).shown()
    assert shown["n"] == "8"
    assert shown["oracle.max_answer_tokens"] == "30"
    assert shown["--config-dir"] == "/mine"
    assert "secret" not in str(shown)


@pytest.mark.parametrize(("limit", "expected"), [(None, None), (0.0, "0"), (0.25, "0.25")])
def test_the_limit_of_the_exit_code_is_shown(limit: float | None, expected: str | None) -> None:
    """So it is in the command that makes the audit again."""
    assert request("a", fail_over=limit).shown().get("fail_over") == expected


def test_one_name_of_a_server_for_both_models_asks_for_a_tag() -> None:
    """It is refused before anybody is asked."""
    source = f"{SERVED}#base"
    with pytest.raises(UserError, match=r"is also the control.*#MODEL@TAG"):
        check_models([source], source, has_prefix=False)
