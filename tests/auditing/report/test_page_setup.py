"""The setup on the page of an audit: how to get its numbers again, and what was asked."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import msgspec

from contraflow.auditing.outcome.result import IN_MEMORY, ServedUsage
from contraflow.auditing.report.page import render, write_report
from contraflow.auditing.report.page_details import command
from contraflow.auditing.report.terminal import text_report
from contraflow.auditing.requested.request import AuditRequest
from contraflow.cli.command import parse_arguments
from contraflow.cli.commands.audit import COMMAND
from support.audits import made_result


def test_the_command_makes_the_audit_again(tmp_path: Path) -> None:
    result = made_result(2, 3)
    words = command(result, tmp_path).split()
    assert words[:2] == ["contraflow", "audit"]
    assert words[2:] == [
        "edited=edits/rome/delta.safetensors,edits/lora/delta.safetensors",
        "names=rome,lora",
        "control=packaged:smollm2-135m-instruct",
        "edits=edits/dozen.jsonl",
        "run=shipped",
        "n=16",
        "ask=few_shot,bare",
        "seed=0",
        "adapt_steps=12",
        "neighbors=shipped",
        f"out={tmp_path}",
    ]


def test_the_command_has_every_setting_of_a_request(tmp_path: Path) -> None:
    """The exit code is a part of what the command does."""
    request = AuditRequest(Path("e.jsonl"), tmp_path, fail_over=0.2, prefix="Imagine: {edit_fact}")
    result = msgspec.structs.replace(made_result(), settings=request.shown())
    words = shlex.split(command(result, tmp_path))
    assert "fail_over=0.2" in words
    assert "prefix=Imagine: {edit_fact}" in words
    assert parse_arguments(COMMAND, words[2:]).text("fail_over") == "0.2"


def test_the_command_of_modules_is_a_call(tmp_path: Path) -> None:
    made = made_result()
    in_memory = msgspec.structs.replace(made.models[0].model, source=IN_MEMORY)
    model = msgspec.structs.replace(made.models[0], model=in_memory)
    text = command(msgspec.structs.replace(made, models=(model,)), tmp_path)
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert given["n"] == "16"
    assert given["styles"] == "('few_shot', 'bare')"
    assert given["out"] == repr(str(tmp_path))


def test_the_call_of_own_questions_has_no_number(tmp_path: Path) -> None:
    """As all of them are asked, beside a number they are refused."""
    made = made_result()
    request = AuditRequest(Path("e.jsonl"), tmp_path, questions=Path("q.jsonl"), adapt_steps=3)
    in_memory = msgspec.structs.replace(made.models[0].model, source=IN_MEMORY)
    model = msgspec.structs.replace(made.models[0], model=in_memory)
    result = msgspec.structs.replace(made, models=(model,), settings=request.shown())
    call = ast.parse(command(result, tmp_path), mode="eval").body
    assert isinstance(call, ast.Call)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert "n" not in given
    assert (given["questions"], given["adapt_steps"]) == ("'q.jsonl'", "3")


def test_what_a_served_model_was_asked_is_shown(tmp_path: Path) -> None:
    usage = ServedUsage(
        requests=120,
        retries=2,
        prompt_tokens=9000,
        completion_tokens=800,
        seconds=14.2,
        estimated=True,
    )
    made = made_result()
    served = msgspec.structs.replace(made.models[0].model, usage=usage)
    model = msgspec.structs.replace(made.models[0], model=served)
    result = msgspec.structs.replace(made, models=(model,))
    said = "120 requests (2 repeated), about 9000 prompt and 800 answer tokens, 14 s"
    assert f"; {said}" in render(result, tmp_path)
    assert f"asked rome: {said}" in text_report(result).splitlines()


def test_a_login_in_an_address_is_not_shown(tmp_path: Path) -> None:
    result = made_result()
    info = msgspec.structs.replace(
        result.control, source="openai:http://me:geheim@localhost:8000/v1#base"
    )
    path = write_report(tmp_path, msgspec.structs.replace(result, control=info))
    text = path.read_text(encoding="utf-8")
    assert "geheim" not in text
    assert "openai:http://localhost:8000/v1#base" in text
