"""The report of an audit in a real browser: no error, live tables, and a page that fits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contraflow.auditing.report.page import write_report
from support.audits import made_audit
from support.browser import Opened, chromium

pytestmark = pytest.mark.slow

SIZES = ((1, 3), (1, 300), (3, 3), (3, 300))
HEIGHT = 900
MOST_SECONDS = 30.0  # the largest page takes seconds on a machine that is busy otherwise
# Elements of the page that stick out of the window without being inside a part that scrolls.
STICKING_OUT = """() => [...document.querySelectorAll('main *')].filter((node) => {
  const box = node.getBoundingClientRect();
  const scrolls = node.closest('.scroll, .tabs, .lost, svg');
  return box.width && !scrolls && box.right > document.documentElement.clientWidth + 1;
}).map((node) => node.tagName + '.' + node.className)"""
# Figures and cells whose text is wider than they are.
TOO_WIDE = """() => [...document.querySelectorAll('.figures, .big, .matrix th, .matrix td')]
  .filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent)"""
# Pairs of figures, labels or names whose boxes lie on each other.
OVERLAPPING = """(selector) => {
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const found = [...document.querySelectorAll(selector)]
    .map((node) => ({ text: node.textContent, box: node.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0);
  return found.flatMap((one, i) => found.slice(i + 1)
    .filter((other) => meet(one.box, other.box)).map((other) => `${one.text} | ${other.text}`));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    found = {}
    for size in SIZES:
        made = made_audit(*size)
        folder = tmp_path_factory.mktemp("audit")
        found[size] = write_report(folder, made.result, made.rows)
    return found


@pytest.fixture
def opened(browser: Any, reports: dict[tuple[int, int], Path]) -> Iterator[Opened]:
    """Three models and 300 edits."""
    page = browser.new_page(viewport={"width": 1200, "height": HEIGHT})
    yield Opened(page, reports[3, 300].as_uri())
    page.close()


def rows_of(opened: Opened, model: int = 0) -> Any:
    return opened.page.locator(f"#model-{model} tr[data-row]")


def keys_of(opened: Opened, key: str, model: int = 0) -> list[str]:
    found: list[str] = rows_of(opened, model).evaluate_all(
        "(rows, key) => rows.map((row) => row.dataset[key])", key
    )
    return found


def sort(opened: Opened, key: str) -> str:
    head = opened.page.locator(f"#model-0 th[data-key={key}]")
    head.get_by_role("button").click()
    return str(head.get_attribute("aria-sort"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_has_no_error(
    browser: Any,
    reports: dict[tuple[int, int], Path],
    size: tuple[int, int],
    width: int,
    scheme: str,
) -> None:
    page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    opened = Opened(page, reports[size].as_uri())
    rows_of(opened).first.get_by_role("button").click()
    page.locator("#model-0 tr.opened").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(OVERLAPPING, ".panel:not([hidden]) .figures, .pair .name") == []
    assert page.evaluate(OVERLAPPING, ".panel:not([hidden]) .chart:first-of-type text") == []
    assert opened.problems == []
    assert opened.requests == [opened.url]
    page.close()


@pytest.mark.parametrize("n_models", [1, 3])
def test_a_page_of_300_edits_opens_in_seconds(
    browser: Any, reports: dict[tuple[int, int], Path], n_models: int
) -> None:
    """From the request until a row of the last model's table can be opened."""
    page = browser.new_page(viewport={"width": 1200, "height": HEIGHT})
    started = time.monotonic()
    opened = Opened(page, reports[n_models, 300].as_uri())
    if n_models > 1:
        page.locator(f"#tab-{n_models - 1}").click()
    rows_of(opened, n_models - 1).first.get_by_role("button").click()
    page.locator(f"#model-{n_models - 1} tr.opened").wait_for()
    seconds = time.monotonic() - started
    print(f"{n_models} models, 300 edits: {seconds:.2f} s")
    assert seconds < MOST_SECONDS
    page.close()


def test_a_page_of_rows_is_shown_and_more_on_demand(opened: Opened) -> None:
    assert rows_of(opened).count() == 25
    opened.page.locator("#model-0 .more").click()
    assert rows_of(opened).count() == 75
    assert opened.page.locator("#model-0 .count").inner_text() == "300 of 300 facts"


def test_numbers_sort_from_the_largest_and_back(opened: Opened) -> None:
    assert sort(opened, "failing") == "descending"
    falling = [int(value) for value in keys_of(opened, "failing")]
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[-1]
    assert sort(opened, "failing") == "ascending"
    rising = [int(value) for value in keys_of(opened, "failing")]
    assert rising == sorted(rising) and rising[0] < falling[0]


@pytest.mark.parametrize("key", ["failure", "residual", "own", "known", "modes"])
def test_every_column_sorts_by_value(opened: Opened, key: str) -> None:
    sort(opened, key)
    values = [float(value) for value in keys_of(opened, key)]
    assert values == sorted(values, reverse=True)
    marked = opened.page.locator("#model-0 table.edits th:not([aria-sort=none])")
    assert marked.get_attribute("data-key") == key


def test_subjects_sort_as_people_expect(opened: Opened) -> None:
    assert sort(opened, "subject") == "ascending"
    assert keys_of(opened, "subject")[:3] == ["Guernica", "Guernica 2", "Guernica 3"]


@pytest.mark.parametrize(("key", "n_missing"), [("failure", 1), ("own", 300 // 8)])
def test_missing_values_are_last_both_ways(opened: Opened, key: str, n_missing: int) -> None:
    for _ in range(2):
        sort(opened, key)
        while opened.page.locator("#model-0 .more").is_visible():
            opened.page.locator("#model-0 .more").click()
        values = keys_of(opened, key)
        assert len(values) == 300
        assert values.count("") == n_missing
        assert set(values[-n_missing:]) == {""}


def test_the_filter_finds_subjects_answers_and_questions(opened: Opened) -> None:
    box = opened.page.locator("#model-0").get_by_label("Filter facts")
    box.fill("GUERNICA 2")
    found = keys_of(opened, "subject")
    assert found and all(subject.startswith("Guernica 2") for subject in found)
    failing = made_audit(3, 300).result.models[0].facts[18]
    box.fill(failing.modes[-1].questions[-1].upper())
    assert set(keys_of(opened, "row")) == {"18"}
    box.fill("no such word anywhere")
    assert rows_of(opened).count() == 0
    assert opened.page.locator("#model-0 .count").inner_text() == "0 of 300 facts"


@pytest.mark.parametrize(
    ("choice", "key", "is_right"),
    [
        ("With a failing question", "failing", lambda value: int(value) > 0),
        ("Without a failing question", "failing", lambda value: int(value) == 0),
        ("Still with the old answer", "old", lambda value: int(value) > 0),
        ("Not counted", "failure", lambda value: value == ""),
    ],
)
def test_the_choice_of_facts_narrows_them(
    opened: Opened, choice: str, key: str, is_right: Any
) -> None:
    opened.page.locator("#model-0").get_by_label("Which facts").select_option(label=choice)
    found = keys_of(opened, key)
    assert found and all(map(is_right, found))


def test_a_row_opens_its_questions_and_closes(opened: Opened) -> None:
    row = rows_of(opened).first
    button = row.get_by_role("button")
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    shown = opened.page.locator("#model-0 tr.opened .asked li:not(.head)")
    assert shown.count() == int(row.get_attribute("data-failing") or "")
    assert opened.page.locator("#model-0 tr.opened .mode").count() == int(
        row.get_attribute("data-modes") or ""
    )
    assert shown.first.locator(".before").inner_text().strip() != ""
    button.focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#model-0 tr.opened").count() == 0


def test_an_opened_row_stays_with_its_fact(opened: Opened) -> None:
    rows_of(opened).nth(3).get_by_role("button").click()
    fact = keys_of(opened, "row")[3]
    subject = keys_of(opened, "subject")[3]
    sort(opened, "subject")
    opened.page.locator("#model-0").get_by_label("Filter facts").fill(subject)
    box = opened.page.locator("#model-0 tr.opened")
    assert box.evaluate("(row) => row.previousSibling.dataset.row") == fact


def test_tabs_show_one_model_and_keep_the_part(opened: Opened) -> None:
    page = opened.page
    assert [page.locator(f"#model-{i}").is_visible() for i in range(3)] == [True, False, False]
    page.locator("#discovery-0").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('discovery-0').scrollIntoView({behavior: 'instant'})")
    page.get_by_role("tab", name="lora").click()
    assert [page.locator(f"#model-{i}").is_visible() for i in range(3)] == [False, True, False]
    top = page.locator("#discovery-1").evaluate("(node) => node.getBoundingClientRect().top")
    assert 0 <= top < 200
    assert page.locator("#nav a", has_text="Facts").get_attribute("href") == "#facts-1"
    page.keyboard.press("ArrowRight")
    assert page.locator("#model-2").is_visible()
    assert opened.problems == []


def test_pointing_at_a_curve_tells_expected_numbers(opened: Opened) -> None:
    chart = opened.page.locator("#model-0 .chart[data-which=failing]")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    row = opened.page.locator("#tip .tip-row").first
    source = made_audit(3, 300).result.models[0].sources[0]
    assert row.locator("span").inner_text() == "trained sampler"
    assert float(row.locator("b").inner_text()) == pytest.approx(source.n_failing, rel=0.01)


def test_without_scripts_the_page_is_whole(
    browser: Any, reports: dict[tuple[int, int], Path]
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports[3, 300].as_uri())
    assert page.locator(".summary").count() == 3
    assert page.locator("article.headline").count() == 3 * 6
    assert page.locator("tr[data-row]").count() == 900
    assert page.locator("#model-2").is_visible()
    assert not page.locator("#model-0 .controls").is_visible()
    assert not page.locator(".tabs").is_visible()
    context.close()
