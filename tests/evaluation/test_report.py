"""What the report contains and refuses. `test_report_browser.py` tests the page in a browser."""

import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from contraflow.errors import UserError
from contraflow.evaluation import report
from contraflow.evaluation.curves import MAX_POINTS, curves_of
from contraflow.evaluation.definitions import DEFINITIONS, markdown_table
from contraflow.evaluation.metrics import compute_metrics
from contraflow.evaluation.records import write_records
from contraflow.evaluation.report import json_for_script, write_report
from contraflow.evaluation.report_data import HOLDS, gather
from contraflow.evaluation.stages import STAGES
from support.records import record
from support.run_folder import HOSTILE, build_run


class Elements(html.parser.HTMLParser):
    """Collects all elements and the text of scripts, as a browser separates them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        key = attributes.get("id") or tag
        self.texts[key] = self.texts.get(key, "") + data


def elements_of(path: Path) -> Elements:
    found = Elements()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def data_of(path: Path) -> dict[str, object]:
    data = json.loads(elements_of(path).texts["data"])
    assert isinstance(data, dict)
    return data


def test_a_finished_run_has_everything(tmp_path: Path) -> None:
    path = write_report(build_run(tmp_path / "run", n_facts=10))
    assert path == tmp_path / "run" / "report.html"
    data = data_of(path)
    assert data["missing"] == []
    assert list(data["stages"]) == ["subject_only", "before", "after"]  # type: ignore[call-overload]
    assert len(data["questions"]) == 2 * 10 * 8  # type: ignore[arg-type]
    assert len(data["relations"]) == 10  # type: ignore[arg-type]
    assert [row["n"] for row in data["facts"]] == [8] * 10  # type: ignore[attr-defined]
    assert [row["name"] for row in data["definitions"]] == [d.name for d in DEFINITIONS]  # type: ignore[attr-defined]


def test_relations_count_strict_success_as_the_headline_does(tmp_path: Path) -> None:
    """Two of four questions have an original answer and name it: 1, not 1/2; none of the last."""
    run = build_run(tmp_path / "run", n_facts=2)
    records = [
        record("1"),
        record("1", "Who wrote Macbeth?", subject="Macbeth"),
        record("2", original_answer=""),
        record("3", original_answer=""),
        record("4", relation="place", original_answer=""),
    ]
    write_records(run / "evaluation" / "after_questions.jsonl", records)
    after = {row["relation"]: row["stages"].get("after") for row in gather(run)["relations"]}
    headline = compute_metrics(records, np.random.default_rng(0), draws=1)["strict_success"]
    assert headline.value == after["author"]["strict"] == 1.0
    assert (after["author"]["n_questions"], after["author"]["n_facts"]) == (4, 4)
    assert after["place"]["strict"] is None and after["place"]["valid"] is not None


def test_an_exact_sampler_is_beside_the_real_ones(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", n_facts=4)
    target = data_of(write_report(run))["target"]
    assert isinstance(target, dict)
    assert (target["n_facts"], target["n_tried"]) == (4, 4)
    strict = target["metrics"]["strict_success"]
    assert set(strict["samplers"]) == {"before", "after"} and strict["value"] is not None


def test_a_damaged_estimate_is_reported_as_missing(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", n_facts=2)
    (run / "evaluation" / "target.json").write_text('{"n_facts": ')
    data = data_of(write_report(run))
    assert data["target"] is None
    assert any("evaluation/target.json cannot be used" in line for line in data["missing"])  # type: ignore[attr-defined]


def test_the_page_asks_nothing_of_any_server(tmp_path: Path) -> None:
    path = write_report(build_run(tmp_path / "run", n_facts=3))
    found = elements_of(path)
    sources = [
        attributes.get(key) for _, attributes in found.tags for key in ("src", "href", "action")
    ]
    assert [source for source in sources if source and not source.startswith(("#", "data:"))] == []
    assert not re.search(r"@import|url\(", found.texts["style"])
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    path = write_report(build_run(tmp_path / "run", n_facts=3, hostile=True))
    found = elements_of(path)
    assert "img" not in [tag for tag, _ in found.tags]
    assert [tag for tag, _ in found.tags].count("script") == 2
    data = json.loads(found.texts["data"])
    assert HOSTILE in [row["question"] for row in data["questions"]]


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", n_facts=3)
    (run / "run.json").write_text(json.dumps({"name": "</title><script>alert(1)</script>{{data}}"}))
    found = elements_of(write_report(run))
    assert found.texts["title"].strip() == "</title><script>alert(1)</script>{{data}} · contraflow"
    assert [tag for tag, _ in found.tags].count("script") == 2


@pytest.mark.parametrize(
    "text", ["</script>", "<!--", "]]>", "&lt;", "\u2028 \u2029", '"\\', "{{data}}"]
)
def test_json_in_a_script_element_is_json_and_nothing_else(text: str) -> None:
    embedded = json_for_script({"text": text})
    assert json.loads(embedded) == {"text": text}
    assert not re.search("[<>&\u2028\u2029]", embedded)


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "history.jsonl",
        "evaluation/before.json",
        "evaluation/after.json",
        "evaluation/before_questions.jsonl",
        "evaluation/after_questions.jsonl",
    ],
)
def test_a_missing_piece_is_named_and_the_rest_is_shown(tmp_path: Path, name: str) -> None:
    run = build_run(tmp_path / "run", n_facts=3)
    (run / name).unlink()
    assert data_of(write_report(run))["missing"] == [f"{name} is not there: no {HOLDS[name]}"]


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "evaluation/before.json",
        "evaluation/after_questions.jsonl",
        "evaluation/subject_only.json",
    ],
)
@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xfe", b"[]"])
def test_a_broken_piece_is_named_and_the_rest_is_shown(
    tmp_path: Path, name: str, content: bytes
) -> None:
    run = build_run(tmp_path / "run", n_facts=3)
    (run / name).write_bytes(content)
    missing = data_of(write_report(run))["missing"]
    if content or not name.endswith("jsonl"):  # an empty file holds no questions
        assert isinstance(missing, list)
        assert len(missing) == 1
        assert missing[0].startswith(f"{name} cannot be used: ")
        assert str(tmp_path) not in missing[0]


def with_settings(run: Path, **settings: object) -> Path:
    record = json.loads((run / "run.json").read_text())
    record["config"] |= {f"evaluation.{key}": value for key, value in settings.items()}
    (run / "run.json").write_text(json.dumps(record))
    return run


def test_an_evaluation_that_was_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    """The report of a whole run said that the run was stopped early."""
    run = with_settings(build_run(tmp_path / "run", n_facts=3), enabled=False)
    shutil.rmtree(run / "evaluation")
    data = data_of(write_report(run))
    assert data["missing"] == []
    assert data["questions"] == []


def test_an_untrained_sampler_left_out_is_not_missed(tmp_path: Path) -> None:
    run = with_settings(build_run(tmp_path / "run", n_facts=3), untrained=False)
    for name in ("before.json", "before_questions.jsonl", "after.json"):
        (run / "evaluation" / name).unlink()
    data = data_of(write_report(run))
    assert data["missing"] == [
        "evaluation/after.json is not there: no " + HOLDS["evaluation/after.json"]
    ]


def test_a_history_cut_short_keeps_its_whole_lines(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", n_facts=3, n_steps=20)
    history = run / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-30])
    data = gather(run)
    assert data["missing"] == ["history.jsonl has 1 unreadable line, left out"]
    assert len(data["curves"][0]["series"][0]["points"]) == 19


def test_a_diverged_history_is_read_without_its_nan(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(
        '{"step": 0, "loss": 1.0}\n{"step": 1, "loss": NaN}\n[1]\n'
    )
    data = gather(tmp_path)
    assert data["curves"][0]["series"][0]["points"] == [(0, 1)]
    assert "history.jsonl has 1 unreadable line, left out" in data["missing"]


def test_a_run_killed_before_its_first_step_still_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    data = data_of(write_report(tmp_path))
    assert len(data["missing"]) == 5  # type: ignore[arg-type]
    assert data["name"] == tmp_path.name


def test_a_killed_run_tells_its_cost_from_its_history(tmp_path: Path) -> None:
    rows = [
        {"step": step, "step_seconds": seconds} for step, seconds in enumerate([1.0, 9.0, 2.0, 3.0])
    ]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    expected = {
        "step_seconds_median": 2.5,
        "n_steps": 4,
        "peak_memory_bytes": None,
        "wall_seconds": None,
    }
    assert gather(tmp_path)["cost"] == expected
    # It was stopped after two steps, went on, and was killed.
    earlier = {"n_steps": 2, "step_seconds_median": 5.0, "wall_seconds": 10.0}
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    assert gather(tmp_path)["cost"] == expected
    (tmp_path / "run.json").write_text(json.dumps(earlier | {"n_steps": 4}))
    assert gather(tmp_path)["cost"]["wall_seconds"] == 10.0


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_that_is_no_run_is_a_user_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"is not a run folder .*name a folder"):
        write_report(tmp_path / name)


def test_secrets_of_the_configuration_are_not_shown_around(tmp_path: Path) -> None:
    text = write_report(build_run(tmp_path / "run", n_facts=3)).read_text()
    assert "sk-very-secret" not in text
    assert "hunter2" not in text
    assert "wandb-4711" not in text
    assert "objective.lam=0.9 logger.api_key=(hidden)" in text
    assert "redis://localhost:6379/0" in text


def test_unknown_numbers_are_plotted_after_the_known_ones() -> None:
    charts = curves_of(
        [{"step": 1, "odd_one": 3.0, "loss": 1.0, "log_reward": -1.0, "flag": True, "note": "x"}]
    )
    assert [chart["title"] for chart in charts] == ["Log-reward", "Loss", "odd one"]


def test_validation_joins_what_it_validates_and_nan_is_left_out() -> None:
    rows = [
        {"step": 0, "log_reward": -1.0},
        {"step": 5, "log_reward": float("nan"), "val_log_reward": -2.0},
    ]
    (chart,) = curves_of(rows)
    assert [(line["key"], line["points"]) for line in chart["series"]] == [
        ("log_reward", [(0, -1)]),
        ("val_log_reward", [(5, -2)]),
    ]


def test_a_long_history_is_thinned_by_means() -> None:
    (chart,) = curves_of([{"step": step, "loss": float(step)} for step in range(2 * MAX_POINTS)])
    points = chart["series"][0]["points"]
    assert len(points) == MAX_POINTS
    assert points[0] == (0.5, 0.5)


def test_the_table_for_the_documents_has_every_metric() -> None:
    assert all(f"`{definition.name}`" in markdown_table() for definition in DEFINITIONS)


def test_every_stage_has_a_tone():
    """Without one its swatch is blank and its mark black."""
    path = Path(report.__file__).parents[1] / "assets" / "report" / "report.css"
    toned = set(re.findall(r"\.(\w+)(?:, \.\w+)* { --tone:", path.read_text(encoding="utf-8")))
    assert set(STAGES) <= toned
