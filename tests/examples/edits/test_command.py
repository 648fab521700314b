"""The command of the editors: errors before a model loads, and real edits in the slow tier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from contraflow.facts.edits import read_edits
from contraflow.models.weights.packaged import is_prepared, packaged_folder
from contraflow.models.weights.sources import source_of
from examples.edits.__main__ import main

EDITORS = ("fine_tune", "lora", "rank_one", "planted", "planted_check")
SMOLLM = "smollm2-135m-instruct"
needs_model = pytest.mark.skipif(not is_prepared(SMOLLM), reason="packaged models are not prepared")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lor", "out=x"], "unknown editor 'lor' (did you mean lora?)"),
        (["lora"], "lora needs out=FOLDER"),
        (["lora", "out=x", "n=0"], "n=0: must be at least 1"),
        (["lora", "out=x", "facts=missing.jsonl"], "missing.jsonl: no such facts file"),
        (["planted", "out=x", "wording=what"], "wording=what: write opening:PHRASE"),
        (["planted", "out=x", "hidden=2"], "hidden=2: must be one of true, false"),
        (["planted_check", "audit=a", "planted=p"], "planted.json: no such record"),
        (["rank_one", "out=x", "each=2"], "each=2: must be one of true, false"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_words_it_prints_every_editor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EDITORS)


@pytest.fixture
def fact_file(tmp_path: Path) -> Path:
    """One fact that the packaged model knows."""
    row = {
        "subject": "Canada",
        "edit_fact": "The capital city of Canada is Madrid.",
        "original_fact": "The capital city of Canada is Ottawa.",
        "relation": "capital_of_country",
        "original_answer": "Ottawa",
        "edited_answer": "Madrid",
        "question": "What is the capital city of Canada?",
    }
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


@pytest.mark.parametrize(
    ("editor", "form"), [("fine_tune", "delta"), ("lora", "adapter"), ("rank_one", "delta")]
)
@pytest.mark.slow
@needs_model
def test_an_editor_teaches_the_new_answer(
    editor: str, form: str, fact_file: Path, tmp_path: Path
) -> None:
    """Behind its own prompt the new answer is the likeliest, and an audit knows the form."""
    out = tmp_path / editor
    assert main([editor, "n=1", f"facts={fact_file}", f"out={out}"]) == 0
    record = json.loads((out / "editor_scores.json").read_text())
    (edit,) = record["edits"]
    assert edit["before"]["n_matches"] < edit["before"]["n_tokens"]
    assert edit["after"]["n_matches"] == edit["after"]["n_tokens"]
    assert record["token_match_after"] == 1.0 > record["token_match_before"]
    assert source_of(str(out)).form == form
    assert read_edits(out / "edits.jsonl").edits[0].prompt == "The capital city of Canada is"


@pytest.mark.slow
@needs_model
def test_each_rank_one_edit_stands_alone(fact_file: Path, tmp_path: Path) -> None:
    rows = [json.loads(fact_file.read_text())]
    rows.append({**rows[0], "subject": "Germany", "original_answer": "Berlin"})
    for key in ("edit_fact", "original_fact", "question"):
        rows[1][key] = rows[0][key].replace("Canada", "Germany").replace("Ottawa", "Berlin")
    fact_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "each"
    assert main(["rank_one", "n=2", "each=true", f"facts={fact_file}", f"out={out}"]) == 0
    folders = sorted(path.name for path in out.iterdir())
    assert folders == ["00-canada", "01-germany"]
    first, second = (load_file(out / name / "delta.safetensors") for name in folders)
    assert first.keys() == second.keys() == {"model.layers.8.mlp.down_proj.weight"}
    (name,) = first
    unedited = _packaged_tensor(name)
    # Each differs from the unedited matrix by one outer product.
    for tensors in (first, second):
        change = (tensors[name] - unedited).double()
        values = change.svd().S
        assert values[0] > 1000 * values[1]


def _packaged_tensor(name: str) -> Tensor:
    return load_file(packaged_folder(SMOLLM) / "model.safetensors")[name]
