"""`report.html` of a run: one file that opens anywhere, asks no server for anything, and trusts no
text.

The page's data lies in it as JSON in which `<`, `>` and `&` are escaped, so that no question can
end the script element; the page's code only ever writes it as text. A content security policy that
allows this style and these scripts by their hashes, and nothing else, stands behind that.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from contraflow.evaluation.report_data import gather
from contraflow.system.files import write_atomically

SCRIPTS = ("core.js", "lines.js", "stages.js", "scatter.js", "questions.js", "facts.js", "page.js")


def write_report(run_dir: Path) -> Path:
    """Write `run_dir/report.html` from what the run has left, and return its path.

    Pieces that are missing (a run killed half-way) are named in the report. `UserError` if the
    folder is not a run or cannot be written.
    """
    run_dir = Path(run_dir)
    path = run_dir / "report.html"
    write_atomically(path, render(gather(run_dir)).encode())
    return path


def render(data: dict[str, Any]) -> str:
    """The whole page for gathered data."""
    style = _asset("report.css")
    script = "\n".join(["'use strict';", *map(_asset, SCRIPTS)])
    pieces = {
        "title": html.escape(f"{data['name']} · contraflow"),
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "data": json_for_script(data),
    }
    template = _asset("report.html")
    return re.sub(
        r"\{\{(\w+)\}\}", lambda match: pieces[match[1]], template
    )  # one pass: no text is read twice


def json_for_script(data: object) -> str:
    """JSON that can stand in a script element whatever its strings contain; NaN becomes null."""
    text = msgspec.json.encode(data).decode()
    escapes = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return re.sub("[<>&\u2028\u2029]", lambda match: escapes[match[0]], text)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    folder = resources.files("contraflow") / "assets" / "report"
    return (folder / name).read_text(encoding="utf-8").strip()
