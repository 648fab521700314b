"""Exceptions of the environment and bugs of this package, as the user sees them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.cli.failures import describe, one_line
from contraflow.errors import UserError
from support.cli import Result, assert_one_error, put_module

Call = Callable[..., Result]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Run `contraflow train` until training starts and raises this exception."""

    def train(_config: object, _started: float) -> None:
        raise error

    put_module(monkeypatch, "contraflow.training.job", train=train)


class StoppedError(UserError):
    """Stands for `contraflow.training.job.Interrupted`, whose module imports torch."""

    exit_code = 130


def hub_error() -> Exception:
    from huggingface_hub.errors import LocalEntryNotFoundError

    return LocalEntryNotFoundError("cannot find the files in the cache\nand more")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a"),
            ["runs/a: the disk is full", "run_dir=…"],
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "runs/a"),
            ["runs/a: read-only file system"],
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/a"),
            ["runs/a: permission denied"],
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), ["the disk is full"]),
        (MemoryError(), ["out of memory", "lower n= ", "trainer.facts_per_step"]),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), ["out of memory"]),
        (hub_error(), ["cannot find the files in the cache", "model=smollm2 judge=minilm"]),
        (
            OSError("x is not a local folder and is not a valid model"),
            ["model=smollm2 judge=minilm"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failures_of_the_machine_get_one_line(
    contraflow: Call,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    parts: list[str],
    tmp_path: Path,
) -> None:
    raising(monkeypatch, error)
    assert_one_error(contraflow("train"), *parts)
    assert list(tmp_path.iterdir()) == []


def test_the_cause_of_an_error_counts() -> None:
    error = RuntimeError("saving failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "last.ckpt")
    assert describe(error) == (
        "error: last.ckpt: the disk is full; free some space or write elsewhere (out=…, run_dir=…)",
        2,
    )


def test_ctrl_c_ends_with_130(contraflow: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert contraflow("train") == Result(130, "", "contraflow: stopped\n")


def test_training_that_was_stopped_says_how_to_resume(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, StoppedError("stopped at step 12; run the same command again to go on"))
    expected = "contraflow: stopped at step 12; run the same command again to go on\n"
    assert contraflow("train") == Result(130, "", expected)


def test_a_bug_leaves_its_traceback_in_a_file(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raising(monkeypatch, ZeroDivisionError("at redis://me:secret@host:1"))
    result = contraflow("train")
    log = tmp_path / "contraflow-error.log"
    assert_one_error(result, "ZeroDivisionError", "this is a bug", str(log), code=1)
    text = log.read_text()
    assert "Traceback" in text
    assert "secret" not in text + result.err


def test_notes_of_an_error_follow_in_the_same_line(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UserError("the server is gone; start it")
    error.add_note("12 lines are kept in out.part")
    raising(monkeypatch, error)
    assert_one_error(contraflow("train"), "start it; 12 lines are kept in out.part")


def test_debugging_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from contraflow.cli import main

    monkeypatch.setenv("CONTRAFLOW_DEBUG", "1")
    assert main(["config", "objective.lam=-1"]) == 2
    assert "Traceback" in capfd.readouterr().err


def test_libraries_are_quiet_but_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from contraflow.cli.verbosity import silence_libraries

    monkeypatch.delenv("CONTRAFLOW_DEBUG", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "false")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    silence_libraries()
    assert os.environ["WANDB_SILENT"] == "false"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_user_errors_are_printed_in_one_line() -> None:
    listed = "\n".join([*(f"f.jsonl:{n}: bad" for n in range(1, 11)), "… and 5 more problems"])
    assert one_line(str(UserError(listed))) == "f.jsonl:1: bad (14 more such lines)"
    assert one_line("f.jsonl:1: bad\nf.jsonl:2: bad") == "f.jsonl:1: bad (1 more such line)"
    assert one_line("first\nan explanation") == "first"


def test_a_list_of_problems_keeps_the_remedy_for_all_of_them() -> None:
    """The way to skip bad rows stood behind the last problem, where nobody saw it."""
    remedy = "or leave such rows out: `x`"
    assert one_line(f"f:1: bad\nf:2: bad\n{remedy}") == f"f:1: bad (1 more such line); {remedy}"
    assert one_line(f"f:1: bad\n{remedy}") == f"f:1: bad; {remedy}"
