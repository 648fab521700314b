"""A file of any length is converted in the memory of a short one."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from contraflow.facts.formats import convert, rows_about
from support.dataset_rows import (
    MQUAKE,
)


def write_many(path: Path, rows: int) -> None:
    """Write MQuAKE rows on one line, each with two edits of its own."""
    text = json.dumps(MQUAKE)
    with path.open("w") as file:
        file.write("[")
        for number in range(rows):
            file.write(
                ("," if number else "")
                + text.replace("Sorland", f"S{number}").replace("Rotor", f"R{number}")
            )
        file.write("]")


def peak_of(path: Path) -> tuple[int, int]:
    tracemalloc.start()
    try:
        count = sum(1 for _ in convert(path))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    """Ten times the rows take no more memory: 0.2 MB and 1.9 MB of JSON; the limit is 1 MB."""
    write_many(tmp_path / "small.json", 200)
    write_many(tmp_path / "large.json", 2_000)
    count, small = peak_of(tmp_path / "small.json")
    assert count == 400
    assert (tmp_path / "large.json").stat().st_size > 1_500_000
    count, large = peak_of(tmp_path / "large.json")
    assert count == 4_000
    assert large < 1_000_000
    assert large < 1.5 * small + 100_000


def test_the_bar_knows_about_how_many_rows_there_are(tmp_path: Path) -> None:
    write_many(tmp_path / "large.json", 5_000)
    assert rows_about(tmp_path / "large.json") == pytest.approx(5_000, rel=0.05)


def converted_apart(path: Path) -> int:
    """Return the peak memory in bytes of a process that converts the file as a user would."""
    code = (
        "import resource, sys; from contraflow.cli import main; assert main(sys.argv[1:]) == 0; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    words = ["data", "convert", f"in={path}", f"out={path.with_suffix('.facts')}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_the_memory_of_a_hundred(tmp_path: Path) -> None:
    """200,000 facts from 140 MB of JSON on one line, repeats included, take 20 MB more at most."""
    write_many(tmp_path / "few.json", 100)
    write_many(tmp_path / "many.json", 100_000)
    few, many = (converted_apart(tmp_path / name) for name in ("few.json", "many.json"))
    assert sum(1 for _ in (tmp_path / "many.facts").open("rb")) == 200_000
    assert many - few < 20e6
