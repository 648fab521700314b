"""Outputs through links and into pipes and devices, and lines that are kept from the first on."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.system.destinations import is_stream
from contraflow.system.files import write_atomically, write_lines
from contraflow.system.line_file import line_file


@pytest.fixture
def read_pipe(tmp_path: Path) -> Callable[[Callable[[Path], object]], bytes]:
    """Run a writer on a named pipe, and return what its reader got."""

    def run(write: Callable[[Path], object]) -> bytes:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
        reader.start()
        write(pipe)
        reader.join(5)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
        return got[0]

    return run


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "file"
    target.write_bytes(b"old")
    (tmp_path / "second").symlink_to(Path("there", "file"))
    link = tmp_path / "link"
    link.symlink_to("second")
    write_atomically(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_a_link_to_no_file_makes_the_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    assert write_lines(link, [b"a", b"b"]) == 2
    assert link.is_symlink() and (tmp_path / "file").read_bytes() == b"a\nb\n"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UserError, match="a: cannot be written"):
        write_atomically(tmp_path / "a", b"new")
    with pytest.raises(UserError, match="a: cannot be written"), line_file(tmp_path / "a"):
        pass


def test_a_pipe_gets_what_is_written(read_pipe: Callable[..., bytes]) -> None:
    assert read_pipe(lambda pipe: write_lines(pipe, [b"a", b"b"])) == b"a\nb\n"


def test_a_pipe_gets_each_kept_line(read_pipe: Callable[..., bytes]) -> None:
    def write(pipe: Path) -> None:
        with line_file(pipe) as lines:
            lines.write(b"a")
            lines.write(b"b")

    assert read_pipe(write) == b"a\nb\n"


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    """A null device of our own: the machine's is never named in a test."""
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.open("wb").close()
    except PermissionError:
        pytest.skip("making a device needs root")
    assert is_stream(device)
    write_atomically(device, b"new")
    with line_file(device) as lines:
        lines.write(b"new")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


def test_an_open_descriptor_is_written_where_it_stands(tmp_path: Path) -> None:
    """As /dev/stdout is, also where a shell has redirected it to a file."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not name descriptors in /proc")
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        file.write(b"first\n")
        link = tmp_path / "out"
        link.symlink_to(f"/dev/fd/{file.fileno()}")
        write_lines(link, [b"second"])
        file.write(b"third\n")
    assert path.read_bytes() == b"first\nsecond\nthird\n"


def test_a_socket_is_refused_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(UserError, match="socket"):
            write_atomically("socket", b"new")
        with pytest.raises(UserError, match="socket"), line_file(Path("socket")):
            pass
        assert Path("socket").is_socket()


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    for name, mode, kept in (
        ("secret", 0o600, 0o600),
        ("shared", 0o664, 0o664),
        ("copied", 0o444, 0o644),  # a run that goes on appends to it
    ):
        path = tmp_path / name
        for write in (lambda p: write_atomically(p, b"new"), write_one_line):
            path.write_bytes(b"old")
            path.chmod(mode)
            write(path)
            assert path.read_bytes() != b"old"
            assert stat.S_IMODE(path.stat().st_mode) == kept


def write_one_line(path: Path) -> None:
    with line_file(path) as lines:
        lines.write(b"new")


def test_a_line_is_on_the_disk_before_the_next(tmp_path: Path) -> None:
    path, part = tmp_path / "out", tmp_path / "out.part"
    path.write_bytes(b"old\n")
    with line_file(path) as lines:
        lines.write(b"a")
        assert part.read_bytes() == b"a\n"
        lines.write(b"b")
        assert (part.read_bytes(), path.read_bytes()) == (b"a\nb\n", b"old\n")
    assert path.read_bytes() == b"a\nb\n" and not part.exists()


def test_lines_of_a_stop_stay_beside_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old\n")
    for number, part in enumerate(("out.part", "out.part2", "out.part3"), start=1):
        with pytest.raises(KeyboardInterrupt) as caught, line_file(path) as lines:
            for line in range(number):
                lines.write(b"%d" % line)
            raise KeyboardInterrupt
        kept = "1 line is" if number == 1 else f"{number} lines are"
        assert caught.value.__notes__ == [f"{kept} kept in {tmp_path / part}"]
        assert (tmp_path / part).read_bytes() == b"0\n1\n2\n"[: 2 * number]
    assert path.read_bytes() == b"old\n"


def test_parts_that_the_finished_file_begins_with_are_removed(tmp_path: Path) -> None:
    """After a kill and a second run the first part was left beside the whole file."""
    path = tmp_path / "out"
    contents = {"part": b"0\n1", "part2": b"0\n2\n", "part3": b"", "part4": b"0\n", "parts": b"0\n"}
    for end, content in contents.items():
        (tmp_path / f"out.{end}").write_bytes(content)
    with (tmp_path / "out.part4").open("rb") as of_a_run:
        fcntl.flock(of_a_run, fcntl.LOCK_EX)
        write_lines_to(path, b"0", b"1", b"2")
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == {
        "out": b"0\n1\n2\n",
        "out.part2": b"0\n2\n",  # another run's
        "out.part4": b"0\n",  # its process still writes
        "out.parts": b"0\n",  # of somebody else
    }


def write_lines_to(path: Path, *texts: bytes) -> None:
    with line_file(path) as lines:
        for text in texts:
            lines.write(text)


def test_a_stop_before_the_first_line_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, line_file(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_does_not_fit_is_not_kept_in_part(tmp_path: Path) -> None:
    """A limit of 6 bytes lets the second line in by half, as a full disk does."""
    script = f"""
import resource, signal
from pathlib import Path
from contraflow.system.line_file import line_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6, 6))
try:
    with line_file(Path({str(tmp_path / "out")!r})) as lines:
        lines.write(b"abc")
        lines.write(b"def")
except Exception as error:
    print(error, error.__notes__, sep="|")
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    part = tmp_path / "out.part"
    assert done.stdout.startswith(f"{part}: cannot be written (File too large); free some space")
    assert f"1 line is kept in {part}" in done.stdout
    assert part.read_bytes() == b"abc\n"
