"""Frontier, hypervolume and ties, by hand, and the table made of results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from studies.fit.frontier import Point, frontier, hypervolume, ties
from studies.fit.results import CUT, DONE, FAILED, Results, Row
from studies.fit.table import markdown, points_of, write_table


def point(name: str, x: float, y: float) -> Point:
    return Point(name, (x,), (y,))


POINTS = [point("a", 0.8, 0.2), point("b", 0.5, 0.6), point("c", 0.5, 0.5), point("d", 0.4, 0.6)]


def test_the_frontier_has_what_nothing_dominates() -> None:
    assert [p.name for p in frontier(POINTS)] == ["a", "b"]


def test_hypervolume_is_the_area_of_the_union() -> None:
    """0.8 x 0.2 below, and 0.5 x (0.6 - 0.2) above it."""
    assert hypervolume(POINTS) == pytest.approx(0.16 + 0.2)


def test_points_are_means_over_seeds() -> None:
    assert Point("a", (0.2, 0.4), (0.5, 0.7)).at == (pytest.approx(0.3), pytest.approx(0.6))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.70,), (0.735,), True),  # one run each: within 0.04
        ((0.70,), (0.75,), False),
        # variances 0.01² each, two seeds: error sqrt(2 x 0.0001 / 2) = 0.01
        ((0.69, 0.71), (0.705, 0.725), True),  # 0.015 <= 2 x 0.0141
        ((0.69, 0.71), (0.73, 0.75), False),  # 0.04 > 0.0283
    ],
)
def test_ties_are_within_two_standard_errors(
    a: tuple[float, ...], b: tuple[float, ...], expected: bool
) -> None:
    assert ties(a, b) is expected


def row(setting: str, seed: int, strict: float, valid: float, status: str = DONE) -> Row:
    figures = {"strict_success": strict, "distinct_valid": valid}
    return Row(setting, seed, "train", [], status=status, steps=3, of_steps=9, held_out=figures)


ROWS = [
    row("a", 0, 0.7, 0.3),
    row("a", 1, 0.8, 0.4),
    row("b", 0, 0.5, 0.6),
    row("near a", 0, 0.73, 0.33),
    Row("cut", 0, "train", [], status=CUT, reason="after 3 of 9 steps"),
    Row("broken", 0, "train", [], status=FAILED, reason="no such file"),
]
ROWS[2].at_temperature = {"0.7": {"strict_success": 0.6, "distinct_valid": 0.5}}


def test_the_table_has_means_ties_and_what_is_missing(tmp_path: Path) -> None:
    text = markdown(ROWS)
    assert "| a | 2 | 0.750 [0.700, 0.800] |" in text
    assert "Frontier of strict success and distinct and valid: a (0.750, 0.350); b T=0.7" in text
    assert "Not told apart from a point of the frontier: near a with a." in text
    assert "- cut, seed 0: cut short (after 3 of 9 steps)" in text
    assert "- broken, seed 0: failed (no such file)" in text
    assert {p.name for p in points_of(ROWS)} == {"a", "b", "b T=0.7", "near a"}
    write_table(tmp_path, ROWS)
    names = {e.text for e in ElementTree.parse(tmp_path / "frontier.svg").iter() if e.text}
    assert {"a", "b", "b T=0.7", "near a", "strict success"} <= names


def test_results_survive_writing(tmp_path: Path) -> None:
    results = Results(ROWS)
    (tmp_path / "results.json").write_bytes(results.as_json())
    assert Results.read(tmp_path).rows == ROWS
