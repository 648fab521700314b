"""The law of docs/performance.md: its arithmetic by hand; page and picture are its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cost import law
from benchmarks.cost.picture import PANELS, along
from benchmarks.cost.points import FITTED, HELD_OUT, Point, Sizes, read_points
from contraflow.models.token_tree import TokenTree

ROOT = Path(__file__).resolve().parents[3]
POINTS = ROOT / "benchmarks" / "cost" / "points.json"
SIZES = Sizes(facts=2, n=3, length=10, params=50e6, answer=5)


def call(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def run(module: str, *words: str) -> str:
    done = call(module, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def point(sizes: Sizes, seconds: dict[str, float], mib: float) -> Point:
    step = sum(seconds.values())
    return Point(sizes, seconds, step, step, step, mib, (mib, mib))


def test_terms_by_hand() -> None:
    """Half of 100 million parameters, whose root is 0.7071.

    2 prompts of 22 tokens and 6 questions of 10 are 104 tokens and 60 states. The oracle reads and
    writes 6 questions of 10 tokens, with 4 around them and 5 of the answer: 114.
    """
    terms = law.terms(SIZES)
    root = 0.5**0.5
    assert terms["sample"] == pytest.approx(
        {"constant": 1, "a pass": 5, "a token": 52, "a state": 60 * root}
    )
    assert terms["answer"] == {"constant": 1, "a pass": 2.5, "a token": 57}
    assert terms["judge"] == {"constant": 1, "a question": 6}
    assert terms["prior"] == {"constant": 1, "a token": 52}
    assert terms["learn"] == pytest.approx(
        {**terms["prior"], "the model": 0.5, "a state": 60 * root}
    )
    assert terms["mib"] == pytest.approx({"constant": 1, "the model": 0.5, "a token": 104 * root})


def test_long_trees_are_read_in_rows() -> None:
    """6 prompts of 22 and 48 questions of 12 are 708 tokens, which need 3 rows of 256; with room
    for 34 more in each they are 810. The tree itself has at most as many.
    """
    sizes = Sizes(facts=6, n=8, length=12, params=135e6)
    assert (sizes.written, sizes.read) == (708, 810)
    prompts = [[1000 + fact] * 22 for fact in range(6)]
    questions = []
    for fact, prompt in enumerate(prompts):
        questions += [prompt + [100 * fact + n] * 12 for n in range(8)]
    rows = TokenTree.of(questions).ids
    assert 708 <= rows.numel() <= 810


def test_a_law_that_holds_is_found() -> None:
    """Points from known coefficients give them back, and predict sizes that are not among them."""
    true = {}
    for phase, work in law.terms(SIZES).items():
        true[phase] = {name: 0.5 + 0.25 * i for i, name in enumerate(work)}
    points = []
    for sizes in FITTED:
        found = law.predict(true, sizes)
        mib = found.pop("mib")
        del found["step"]
        points.append(point(sizes, found, mib))
    fitted = law.fit(points)
    for phase, coefficients in true.items():
        assert fitted[phase] == pytest.approx(coefficients, rel=1e-4)
    assert law.predict(fitted, SIZES) == pytest.approx(law.predict(true, SIZES), rel=1e-4)


def test_no_coefficient_is_negative() -> None:
    """Without a negative coefficient y = 2a - b is fitted best by a alone: x = a.y / a.a."""
    a = np.array([1.0, 2.0, 3.0])
    b = np.array([1.0, 1.0, 1.0])
    y = 2 * a - b
    x = law.nonnegative(np.stack([a, b], 1), y)
    assert x == pytest.approx([a @ y / (a @ a), 0.0])


def test_the_error_is_relative_to_the_measurement() -> None:
    flat = {phase: dict.fromkeys(work, 0.0) for phase, work in law.terms(SIZES).items()}
    flat["judge"]["a question"] = 0.5
    measured = point(SIZES, {"judge": 2.0, "learn": 2.0}, 100.0)
    assert law.error(flat, measured) == pytest.approx(3 / 4 - 1)
    assert law.error(flat, measured, "judge") == pytest.approx(3 / 2 - 1)


def test_a_panel_varies_one_size() -> None:
    seconds = dict.fromkeys(("sample", "answer", "judge", "prior", "learn"), 1.0)
    points = [point(sizes, seconds, 1.0) for sizes in FITTED]
    for size in PANELS:
        some = [p.sizes for p in along(points, size)]
        values = [getattr(s, size) for s in some]
        assert len(values) == 4 and values == sorted(set(values)), size
        assert len({replace(s, **{size: 0}) for s in some}) == 1


def test_held_out_points_were_not_fitted() -> None:
    points, _ = read_points(POINTS)
    assert {p.sizes for p in points} == {*FITTED, *HELD_OUT}
    assert not {*FITTED} & {*HELD_OUT}
    rounds = json.loads(POINTS.read_text())["points"]
    assert len(rounds) == 2 * len(points), "each was measured twice"


def test_the_page_shows_the_output(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    svg = tmp_path / "cost.svg"
    printed = run("benchmarks.cost", "--svg", str(svg))
    missing = [block for block in printed.strip().split("\n\n") if block not in page]
    command = "python -m benchmarks.cost --svg docs/images/cost.svg"
    assert not missing, f"run: {command}\n{missing[0]}"
    assert svg.read_text() == (ROOT / "docs" / "images" / "cost.svg").read_text()
    example = "benchmarks.cost --predict facts=6 n=8 length=12 params=135e6"
    assert all(line in page for line in (example, *run(*example.split()).splitlines()))


def test_the_error_for_an_unknown_size_names_the_known_ones() -> None:
    for word in ("fact=6", "facts=many", "facts"):
        done = call("benchmarks.cost", "--predict", word)
        assert done.returncode == 1
        assert done.stderr.startswith("--predict: give facts=N n=N length=N params=N answer=N"), (
            done.stderr
        )


@pytest.mark.slow
def test_a_point_is_measured_phase_by_phase() -> None:
    sizes = {"facts": 1, "n": 2, "length": 4, "params": 135e6, "answer": 3}
    found = json.loads(run("benchmarks.cost.measure", json.dumps(sizes), "").splitlines()[-1])
    assert len(found["steps"]) == 2
    for step in found["steps"]:
        assert all(step[phase] > 0 for phase in ("sample", "answer", "judge", "prior", "learn"))
    assert found["mib"] > 135 * 4, "the weights alone, in float32"
