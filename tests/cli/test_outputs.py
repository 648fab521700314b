"""Outputs that would replace an input, or what a run or an audit keeps in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.facts import default_facts, write_facts
from support.audits import made_result
from support.cli import Result, assert_one_error

Call = Callable[..., Result]
KEPT = b'{"kept": true}\n'


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
    from contraflow.auditing.result import write_result

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


@pytest.mark.parametrize("name", ["config.yaml", "train_facts.jsonl", "evaluation/after.json"])
def test_an_output_does_not_replace_a_file_of_a_run(contraflow: Call, name: str) -> None:
    write_facts(Path("own.jsonl"), default_facts()[:3])
    for folder in ("checkpoints", "evaluation"):
        Path("done", folder).mkdir(parents=True)
    Path("done", name).write_bytes(KEPT)
    result = contraflow("evaluate", "run=shipped", "facts=own.jsonl", f"out=done/{name}")
    assert_one_error(result, f"out=done/{name}", "a run")
    assert Path("done", name).read_bytes() == KEPT
