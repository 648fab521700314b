"""What a request is called and how it is shown, without any model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from contraflow.auditing.requested.request import AuditRequest, check_models
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit
from support.edits import save_delta, save_tiny_adapter
from support.models import save_tiny_model

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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Subj,edit_fact\nOslo,Oslo is in Chile.\n"),
        ("a.txt", "Oslo is in Chile."),
        ("a.json", '[{"a": 1}]'),
    ],
)
def test_a_file_to_convert_gets_the_command_that_does_it(
    tmp_path: Path, name: str, text: str
) -> None:
    """An audit takes neither columns. nor format=, which the messages of formats name."""
    (tmp_path / name).write_text(text)
    asked = AuditRequest(edits=tmp_path / name, out=tmp_path / "out", edited=("a",))
    with pytest.raises(UserError, match=rf"contraflow data convert in=.*{name} out=edits.jsonl"):
        _ = asked.file


def test_one_name_of_a_server_for_both_models_asks_for_a_tag() -> None:
    """It is refused before anybody is asked."""
    source = f"{SERVED}#base"
    with pytest.raises(UserError, match=r"is also the control.*#MODEL@TAG"):
        check_models([source], source, has_prefix=False)


def test_a_model_without_a_control_is_refused(tmp_path: Path) -> None:
    """Only an adapter knows its base; the words alone tell."""
    save_tiny_model("llama", tmp_path / "BMW")
    with pytest.raises(UserError, match=r"^edited=.*BMW: name the model that it is an edit of, as"):
        check_models([str(tmp_path / "BMW")], None, has_prefix=False)
    save_tiny_adapter("llama", tmp_path / "LORA", base=str(tmp_path / "BMW"))
    check_models([str(tmp_path / "LORA")], None, has_prefix=False)


@pytest.mark.parametrize("other", ["", "/", "/../BMW"])
def test_two_paths_of_one_model_are_one(tmp_path: Path, other: str) -> None:
    model = str(save_tiny_model("llama", tmp_path / "BMW"))
    with pytest.raises(UserError, match="names a model twice"):
        check_models([model, model + other], None, has_prefix=False)
    with pytest.raises(UserError, match="is also the control"):
        check_models([model + other], model, has_prefix=False)
    check_models([model + other], model, has_prefix=True)


def test_a_prefix_of_the_file_is_an_edit_in_the_prompt(tmp_path: Path) -> None:
    model = str(save_tiny_model("llama", tmp_path / "BMW"))
    fact = Fact(fact_id="rome", subject="Rome", edit_fact="Rome is in Fiji.", edited_answer="Fiji")
    for prefix in ("", "Rome is in Fiji."):
        asked = AuditRequest(
            edits=tmp_path / "edits.jsonl",
            out=tmp_path / "AUD",
            edited=(model,),
            control=model,
            given=(Edit(fact=fact, prefix=prefix),),
        )
        refused = nullcontext() if prefix else pytest.raises(UserError, match="is also the control")
        with refused:
            asked.check()


def test_a_delta_of_a_served_control_is_refused(tmp_path: Path) -> None:
    save_delta("llama", tmp_path / "delta.safetensors")
    served = f"{SERVED}#base"
    with pytest.raises(UserError, match=r"replaces tensors of the control, but control=.* served"):
        check_models([str(tmp_path / "delta.safetensors")], served, has_prefix=False)


def test_what_is_not_drawn_has_no_number(tmp_path: Path) -> None:
    """All of a person's own questions are asked, and the sampler may be adapted all the same."""
    shown = request("a", questions=tmp_path / "q.jsonl", adapt_steps=3).shown()
    assert "n" not in shown
    assert (shown["questions"], shown["adapt_steps"]) == (str(tmp_path / "q.jsonl"), "3")
