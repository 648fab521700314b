"""Progress whose reader has gone: nothing more is shown, and the work goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from contraflow.system import progress
progress._LINE_EVERY_SECONDS = 0.0
with progress.bar("steps", 3) as steps:
    for _ in range(3):
        steps.advance(note="x" * 5000)
        progress.print_line("a line")
        progress.print_plain("[a line]")
open(sys.argv[1], "w").write("done")
"""


def test_work_goes_on_when_head_has_read_enough(tmp_path: Path) -> None:
    """`contraflow train … 2>&1 | head` ended the run: a rich console exits with its pipe."""
    command = f"'{sys.executable}' -c '{SCRIPT}' '{tmp_path / 'out'}' 2>&1 | head -n 1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("\n") == 1
    assert (tmp_path / "out").read_text() == "done"
