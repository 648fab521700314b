"""Facts files of any bytes: every line is a fact, or an error with file and line."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contraflow.cli import main
from contraflow.facts import Fact, read_facts
from contraflow.facts.check import check_facts
from contraflow.facts.fact import parse_line
from fuzz.mutations import (
    changed,
    examples,
    json_values,
    mutated,
    non_blank_lines,
    or_user_error,
    texts,
)
from support.cli import FACTS

pytestmark = pytest.mark.slow

GOOD = "".join(json.dumps(row) + "\n" for row in FACTS).encode()
ROWS = st.lists(
    st.one_of(
        json_values(),
        st.sampled_from(FACTS).flatmap(changed),
        st.fixed_dictionaries(
            {"subject": texts(), "edit_fact": texts()},
            optional={name: texts() for name in Fact.__struct_fields__[3:-1]},
        ),
    ),
    max_size=4,
)
FILES = st.one_of(
    st.binary(max_size=200),
    mutated(GOOD),
    ROWS.map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode()),
    ROWS.map(lambda rows: "\r\n".join(json.dumps(r, ensure_ascii=False) for r in rows).encode()),
)


def _checked(path: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `contraflow data check`."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    err = io.StringIO(newline="")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["data", "check", f"facts={path}"])
    out.flush()
    return code, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]


@example(
    content=b'{"subject": "!", "edit_fact": "!", "relation": "!\\n!", '
    b'"original_answer": "A", "edited_answer": "!"}'
)
@given(content=FILES)
@examples(1200)
def test_every_line_is_a_fact_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "facts.jsonl"
    path.write_bytes(content)
    located = re.compile(rf"{re.escape(str(path))}(:\d+)?: .+")
    facts, message = or_user_error(lambda: read_facts(path))
    if message is None:
        assert len(facts) == len({parse_line(line) for line in non_blank_lines(content)})
    else:
        assert all(located.match(line) or line.startswith("… and") for line in message.split("\n"))
    problems, empty = or_user_error(lambda: check_facts(path))
    code, out, err = _checked(path)
    assert "Traceback" not in err
    assert not (tmp_path / "contraflow-error.log").exists(), err
    if problems is None:
        assert empty == message
        assert code == 2
        assert len(err.splitlines()) == 1
    elif problems:
        assert code == 1
        assert out.split("\n")[:-1] == [str(problem) for problem in problems]
        assert all(located.fullmatch(str(problem)) for problem in problems)
    else:
        assert code == 0
        assert message is None
        assert f"  {len(facts)} facts, " in out
