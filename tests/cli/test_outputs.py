"""Outputs that would replace an input, or what a run or an audit keeps in its folder."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.facts import default_facts, read_facts, write_facts
from support.audits import made_result
from support.cli import Result, assert_one_error, json_lines

Call = Callable[..., Result]
KEPT = b'{"kept": true}\n'
TABLE = "subject,edit_fact\nRome,Rome is in France.\n"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("data", "convert", "in=own.jsonl"), "in"),
        (("data", "filter-known", "facts=own.jsonl"), "facts"),
        (("generate", "run=shipped", "facts=own.jsonl"), "facts"),
        (("evaluate", "run=shipped", "facts=own.jsonl"), "facts"),
    ],
)
@pytest.mark.parametrize("out", ["own.jsonl", "./folder/../own.jsonl", "link.jsonl"])
def test_an_output_does_not_replace_its_input(
    contraflow: Call, words: tuple[str, ...], key: str, out: str
) -> None:
    own = Path("own.jsonl")
    write_facts(own, default_facts()[:3])
    before = own.read_bytes()
    Path("folder").mkdir()
    Path("link.jsonl").symlink_to(own)
    assert_one_error(contraflow(*words, f"out={out}"), f"out={Path(out)}", f"{key}=own.jsonl")
    assert own.read_bytes() == before


@pytest.mark.parametrize("out", ["csv", "easyedit"])
def test_an_export_does_not_replace_its_questions(contraflow: Call, out: str) -> None:
    Path("own.jsonl").write_bytes(KEPT)
    result = contraflow("export", "in=own.jsonl", "out=own.jsonl", f"format={out}")
    assert_one_error(result, "out=own.jsonl", "in=own.jsonl")
    assert Path("own.jsonl").read_bytes() == KEPT


def test_judged_pairs_do_not_replace_the_pairs(contraflow: Call) -> None:
    Path("own.jsonl").write_text('{"premise": "a", "hypothesis": "b"}\n')
    result = contraflow("judge", "pairs=own.jsonl", "out=own.jsonl")
    assert_one_error(result, "out=own.jsonl", "pairs=own.jsonl")


def put_audit(folder: Path) -> None:
    from contraflow.auditing.outcome.result import write_result

    folder.mkdir()
    write_result(folder / "audit.json", made_result())
    for name in ("questions.jsonl", "edits.jsonl"):
        (folder / name).write_bytes(KEPT)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("AUD", ("out=AUD/edits.jsonl",)),
        ("AUD", ("out=AUD/audit.json",)),
        ("AUD/questions.jsonl", ("out=AUD/questions.jsonl",)),
        ("own.jsonl", ("out=AUD", "format=datasets")),
    ],
)
def test_an_export_does_not_replace_an_audit(
    contraflow: Call, given: str, words: tuple[str, ...]
) -> None:
    put_audit(Path("AUD"))
    Path("own.jsonl").write_bytes(KEPT)
    before = {path: path.read_bytes() for path in Path("AUD").iterdir()}
    assert_one_error(contraflow("export", f"in={given}", *words), "out=AUD", "would replace")
    assert {path: path.read_bytes() for path in Path("AUD").iterdir()} == before


def test_a_data_set_is_not_put_among_other_files(contraflow: Call) -> None:
    """It has a README.md and a questions.jsonl, which may be the questions themselves."""
    Path("questions.jsonl").write_bytes(KEPT)
    Path("mine").mkdir()
    Path("mine", "README.md").write_text("# Mine\n")
    for out, name in ((".", "questions.jsonl"), ("mine", "README.md")):
        result = contraflow("export", "in=questions.jsonl", f"out={out}", "format=datasets")
        assert_one_error(result, f"out={Path(out)}", name, "choose")
    assert Path("questions.jsonl").read_bytes() == KEPT
    assert Path("mine", "README.md").read_text() == "# Mine\n"


@pytest.mark.parametrize("name", ["draws.jsonl", "answers.jsonl", "searches.jsonl"])
@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("through_a_link", [True, False])
def test_an_output_does_not_replace_what_an_audit_pays_for(
    contraflow: Call, name: str, is_finished: bool, through_a_link: bool
) -> None:
    put_audit(Path("AUD"))
    if not is_finished:
        Path("AUD", "audit.json").unlink()
    for kept in ("draws.jsonl", "answers.jsonl", "searches.jsonl"):
        Path("AUD", kept).write_bytes(KEPT)
    out = Path("AUD", name)
    if through_a_link:
        Path("link").symlink_to(out)
        out = Path("link")
    Path("table.csv").write_text(TABLE)
    result = contraflow("data", "convert", "in=table.csv", f"out={out}")
    assert_one_error(result, f"out={out}: would replace", "an audit")
    assert Path("AUD", name).read_bytes() == KEPT


def test_a_conversion_writes_through_a_link(contraflow: Call) -> None:
    Path("table.csv").write_text(TABLE)
    Path("there").mkdir()
    Path("link.jsonl").symlink_to(Path("there", "facts.jsonl"))
    for _ in range(2):  # the file is made, then replaced
        result = contraflow("data", "convert", "in=table.csv", "out=link.jsonl")
        assert (result.code, result.out) == (0, "wrote 1 facts to link.jsonl; skipped 0 rows\n")
        assert Path("link.jsonl").is_symlink()
        assert [path.name for path in Path("there").iterdir()] == ["facts.jsonl"]
        assert len(read_facts("there/facts.jsonl")) == 1


def test_a_conversion_writes_into_a_pipe(contraflow: Call) -> None:
    Path("table.csv").write_text(TABLE)
    os.mkfifo("pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    result = contraflow("data", "convert", "in=table.csv", "out=pipe")
    reader.join(5)
    assert (result.code, result.out) == (0, "wrote 1 facts to pipe; skipped 0 rows\n")
    assert json_lines(got[0].decode())[0]["subject"] == "Rome"
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize(
    "words", [("data", "convert", "in=table.csv"), ("generate", "run=shipped")]
)
def test_a_socket_is_no_output(contraflow: Call, words: tuple[str, ...]) -> None:
    Path("table.csv").write_text(TABLE)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        facts = ("subject=Rome", "edit_fact=Rome is in France.") if words[0] == "generate" else ()
        result = contraflow(*words, *facts, "out=socket")
        assert_one_error(result, "out=socket: is a disk or a socket; give a file")
        assert Path("socket").is_socket()


@pytest.mark.parametrize("name", ["config.yaml", "train_facts.jsonl", "evaluation/after.json"])
def test_an_output_does_not_replace_a_file_of_a_run(contraflow: Call, name: str) -> None:
    write_facts(Path("own.jsonl"), default_facts()[:3])
    for folder in ("checkpoints", "evaluation"):
        Path("done", folder).mkdir(parents=True)
    Path("done", name).write_bytes(KEPT)
    result = contraflow("evaluate", "run=shipped", "facts=own.jsonl", f"out=done/{name}")
    assert_one_error(result, f"out=done/{name}", "a run")
    assert Path("done", name).read_bytes() == KEPT
