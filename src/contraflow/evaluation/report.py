"""`report.html` of a run: one self-contained file that makes no request and trusts no text.

The data is embedded as JSON in which `<`, `>` and `&` are escaped, so that no question can end the
script element. The page's code inserts texts as text nodes only. As a second barrier, a content
security policy allows this style and these scripts by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from contraflow.evaluation.report_data import gather
from contraflow.system.files import write_atomically

SCRIPTS = ("core.js", "lines.js", "stages.js", "scatter.js", "questions.js", "facts.js", "page.js")


def write_report(run_dir: Path) -> Path:
    """Write `run_dir/report.html` from the files of the run and return its path.

    The report names files that are missing, as after a run that was killed.

    Raises: UserError when the folder is not a run or cannot be written.
    """
    run_dir = Path(run_dir)
    path = run_dir / "report.html"
    write_atomically(path, render(gather(run_dir)).encode())
    return path


def render(data: dict[str, Any]) -> str:
    """Return the page for the data of `gather`."""
    return fill_page(
        asset("report.html"),
        title=html.escape(f"{data['name']} · contraflow"),
        style=asset("report.css"),
        scripts=map(asset, SCRIPTS),
        data=data,
    )


def fill_page(
    template: str, *, style: str, scripts: Iterable[str], data: object, **pieces: str
) -> str:
    """Return a template with `{{style}}`, `{{script}}`, `{{policy}}`, `{{data}}` filled in.

    pieces: HTML for the other placeholders of the template, with its texts escaped.
    """
    script = "\n".join(["'use strict';", *scripts])
    pieces |= {"style": style, "script": script, "policy": _policy(style, script)}
    pieces["data"] = json_for_script(data)
    # One pass, so that a placeholder inside an inserted text stays text.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: pieces[match[1]], template)


def asset(name: str, folder: str = "report") -> str:
    """Return the text of a file of the pages' assets."""
    path = resources.files("contraflow") / "assets" / folder / name
    return path.read_text(encoding="utf-8").strip()


def json_for_script(data: object) -> str:
    """Encode as JSON that is safe in a script element; NaN becomes null."""
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
    """The content security policy."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
