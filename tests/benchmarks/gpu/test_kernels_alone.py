"""The benchmark of the Triton kernels: what it measures, and its tiny form by the interpreter.

PyTorch for CPUs comes without Triton. With it, `TRITON_INTERPRET=1 pytest` runs the tiny form.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import kernels_alone
from benchmarks.gpu.kernels_alone import Report

interpreted = pytest.mark.skipif(
    find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1",
    reason="needs Triton and TRITON_INTERPRET=1",
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("gpu") / "kernels.json"
    assert kernels_alone.main(["--tiny", "--limit", "600", "--out", str(out)]) == 0
    return json.loads(out.read_text())  # type: ignore[no-any-return]


@interpreted
def test_all_that_runs_is_right(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Two shapes of the attention, without a prefix and with one, and the keys of prompts."""
    assert [name.split()[0] for name in tables] == ["attention", "attention", "keys"]
    for rows in tables.values():
        for row in rows:
            assert row.get("right", True) and "error" not in row
            assert row.get("us", row.get("ms")) > 0


@interpreted
def test_every_kind_of_plan_runs_and_one_is_the_default(
    tables: dict[str, list[dict[str, Any]]],
) -> None:
    """What the package uses (`triton_attention.py`) comes first; `within` joins the prefix."""
    plans = [[row["plan"] for row in rows] for rows in tables.values()]
    assert plans[0] == ["sums 64x1x1", "products 32x1x3"]
    assert plans[1] == [
        "products 32x1x3, before 64x4x3",
        "sums 64x1x1, before 64x4x3",
        "products 32x1x3, within",
    ]
    assert plans[2] == ["operations", "kernel, 1024 words", "kernel, 512 words"]
    defaults = [[row["default"] for row in rows] for rows in tables.values()]
    assert defaults == [[True, False], [True, False, False], [False, True, False]]


@interpreted
def test_without_time_left_nothing_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels_alone.main(["--tiny", "--limit", "0"]) == 0
    assert "index_copy_" not in capsys.readouterr().out


@interpreted
def test_a_wrong_kernel_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from contraflow.models.attention import triton_keys

    usual = triton_keys.gather

    def swapped(target: Any, states: Any, row: Any, column: Any) -> bool:
        return usual(target, states, row, column.flip(1))

    monkeypatch.setattr(triton_keys, "gather", swapped)
    out = tmp_path / "kernels.json"
    assert kernels_alone.main(["--tiny", "--only", "keys", "--out", str(out)]) == 1
    (rows,) = json.loads(out.read_text()).values()
    assert [row.get("right") for row in rows] == [None, False, False]


@pytest.mark.parametrize(
    ("row", "failed"),
    [
        ({"default": False, "right": True}, False),
        ({"default": False, "right": False}, True),
        ({"default": False, "error": "OutOfResources"}, False),
        ({"default": True, "error": "OutOfResources"}, True),
    ],
)
def test_it_fails_by_wrong_plans_and_missing_defaults(row: dict[str, Any], failed: bool) -> None:
    report = Report(None)
    report.add("attention", {"plan": "sums", **row})
    assert report.failed is failed


def test_without_triton_or_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels_alone, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        kernels_alone.main(["--tiny"])
    assert "Triton is not installed" in capsys.readouterr().err
    monkeypatch.setattr(kernels_alone, "find_spec", lambda _: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(SystemExit):
        kernels_alone.main(["--tiny"])
    assert "--tiny needs TRITON_INTERPRET=1" in capsys.readouterr().err
