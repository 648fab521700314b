"""The report in a real browser: no error, no request, and a table that sorts and filters."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contraflow.evaluation.report import write_report
from support.browser import Opened, chromium
from support.run_folder import HOSTILE, build_run

pytestmark = pytest.mark.slow
COLUMN = "table.questions tbody tr td[data-label='{}']"


class OpenedRun(Opened):
    """The report of a run, with its table of questions."""

    def column(self, label: str) -> list[str]:
        texts: list[str] = self.page.locator(COLUMN.format(label)).all_inner_texts()
        return [text.strip() for text in texts]

    def numbers(self, label: str) -> list[float]:
        return [float(text.replace("\u2212", "-")) for text in self.column(label)]

    def sort(self, label: str) -> str:
        """Click a heading and return the order that it then reports."""
        head = self.page.locator(
            "table.questions th", has=self.page.get_by_role("button", name=label, exact=True)
        )
        head.get_by_role("button").click()
        return str(head.get_attribute("aria-sort"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        build_run(tmp_path_factory.mktemp("runs") / "quickstart", n_facts=12, hostile=True)
    )


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[OpenedRun]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield OpenedRun(page, report.as_uri())
    page.close()


def test_it_opens_without_error_or_request(opened: OpenedRun) -> None:
    opened.page.wait_for_selector("#curves svg path")
    assert opened.problems == []
    assert opened.requests == [opened.url]
    assert opened.page.locator(".curve svg").count() >= 12
    assert opened.page.locator("#balance circle.point").count() == 2 * 12 * 8
    assert opened.page.locator("#headline .big").first.inner_text().endswith("%")


def test_an_exact_sampler_stands_beside_the_real_ones(opened: OpenedRun) -> None:
    """Heads: the metric, its unit, the exact sampler and the two real ones; five metrics."""
    heads = opened.page.locator("#target thead th").all_inner_texts()
    assert [head.lower() for head in heads[2:]] == ["an exact sampler", "untrained", "trained"]
    assert opened.page.locator("#target tbody tr").count() == 5
    first = opened.page.locator("#target tbody tr").first.inner_text()
    assert first.startswith("Strict success") and first.count("%") >= 4
    assert "12 of 12 facts whose weights suffice" in opened.page.locator("#target p").inner_text()
    assert opened.problems == []


def test_hostile_text_is_shown_as_text(opened: OpenedRun) -> None:
    opened.page.get_by_label("Filter questions").fill("onerror")
    assert opened.page.locator(".question-text").all_inner_texts() == [HOSTILE]
    assert opened.page.locator("img").count() == 0
    assert opened.page.title() == "quickstart · contraflow"
    assert opened.problems == []


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(opened: OpenedRun) -> None:
    assert opened.sort("log R") == "descending"
    falling = opened.numbers("log R")
    assert len(falling) == 50
    assert falling == sorted(falling, reverse=True)
    assert opened.sort("log R") == "ascending"
    rising = opened.numbers("log R")
    assert rising == sorted(rising)
    assert rising[0] < falling[-1]


def test_every_column_sorts_and_one_is_marked_as_sorted(opened: OpenedRun) -> None:
    opened.page.select_option("#stage", label="Both samplers")
    labels = opened.page.locator("table.questions th button").all_inner_texts()
    assert len(labels) == 12
    for head in opened.page.locator("table.questions th").all():
        head.get_by_role("button").click()
        marked = opened.page.locator("table.questions th:not([aria-sort=none])")
        assert marked.count() == 1
        assert marked.get_attribute("data-key") == head.get_attribute("data-key")
    assert opened.sort("Subject") == "ascending"
    subjects = opened.column("Subject")
    assert subjects == sorted(subjects, key=str.casefold)


def test_facts_are_found_by_a_click_on_a_diagnostic(opened: OpenedRun) -> None:
    opened.page.locator("table.facts th[data-key=var_log_ratio] button").click()
    shown = opened.page.locator("table.facts td[data-label=Var]").all_inner_texts()
    values = [float(text.replace("\u2212", "-")) for text in shown]
    assert len(values) == 12
    assert values == sorted(values)
    assert opened.problems == []


def test_the_keyboard_sorts(opened: OpenedRun) -> None:
    opened.page.locator("th[data-key=question] button").focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("th[data-key=question]").get_attribute("aria-sort") == "ascending"


def test_filters_narrow_the_table(opened: OpenedRun) -> None:
    count = opened.page.locator(".controls .count")
    assert count.inner_text() == "96 of 192 questions"
    opened.page.select_option("#stage", label="Both samplers")
    assert count.inner_text() == "192 of 192 questions"
    opened.page.select_option("#only", label="Valid only")
    assert set(opened.column("Valid")) == {"\u2713"}
    opened.page.get_by_label("Filter questions").fill("HAMLET")
    assert set(opened.column("Subject")) == {"Hamlet"}
    opened.page.get_by_label("Filter questions").fill("no such word anywhere")
    assert opened.column("Subject") == []
    assert count.inner_text() == "0 of 192 questions"


def test_more_rows_are_shown_on_demand(opened: OpenedRun) -> None:
    opened.page.get_by_role("button", name="Show 46 more").click()
    assert len(opened.column("Subject")) == 96
    assert opened.page.locator("#questions button.more").is_hidden()


def test_pointing_at_a_curve_tells_its_values(opened: OpenedRun) -> None:
    chart = opened.page.locator(".curve svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert opened.page.locator("#tip").inner_text().startswith("step ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 420, 768, 1280])
def test_nothing_sticks_out_at_any_width(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = OpenedRun(page, report.as_uri())
    page.wait_for_selector("#curves svg path")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.problems == []
    page.close()


@pytest.mark.parametrize("kept", ["run.json", "history.jsonl"])
def test_a_run_without_evaluation_opens_and_reports_that(
    browser: Any, tmp_path: Path, kept: str
) -> None:
    whole = build_run(tmp_path / "whole", n_facts=3)
    part = tmp_path / "part"
    part.mkdir()
    shutil.copy(whole / kept, part / kept)
    page = browser.new_page()
    opened = OpenedRun(page, write_report(part).as_uri())
    assert "evaluation/after.json is not there" in page.locator(".notice").inner_text()
    assert page.locator("#glossary dt").count() > 20
    assert "[object" not in page.locator("body").inner_text()
    assert opened.problems == []
    page.close()


def test_a_run_trained_without_evaluation_is_whole(browser: Any, tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", n_facts=3)
    shutil.rmtree(run / "evaluation")
    (run / "probes.jsonl").write_text("{}\n")
    record = json.loads((run / "run.json").read_text())
    record["config"]["evaluation"] = {"enabled": False}
    (run / "run.json").write_text(json.dumps(record))
    page = browser.new_page()
    opened = OpenedRun(page, write_report(run).as_uri())
    assert page.locator(".notice").count() == 0
    text = page.locator("#questions").inner_text()
    assert "without an evaluation" in text and "probes.jsonl" in text
    assert opened.problems == []
    page.close()


def test_a_report_about_one_fact_has_no_intervals(browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    opened = OpenedRun(page, write_report(build_run(tmp_path / "one", n_facts=1)).as_uri())
    text = page.locator("body").inner_text()
    assert "8 questions about one fact. There are no intervals" in text
    assert "no interval: it needs two facts" in page.locator("table.metrics").first.inner_text()
    assert "NaN" not in text and "\u2013 \u2026 \u2013" not in text
    assert opened.problems == []
    page.close()
