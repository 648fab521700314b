"""What `contraflow.audit` refuses in one line, before it writes or loads anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import contraflow
from contraflow.auditing.requested.arguments import as_settings
from contraflow.auditing.requested.request import AuditRequest
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit, read_edits, write_edits
from support.models import tiny_model, word_tokenizer

FACT = Fact(
    fact_id="rome",
    subject="Rome",
    edit_fact="Rome is in France.",
    original_answer="Italy",
    edited_answer="France",
)
EDIT = Edit(fact=FACT, prompt="Rome is in")


def refusal(folder: Path, *arguments: Any, **settings: Any) -> str:
    """The line of an audit that is refused; it leaves no folder."""
    out = folder / "AUD"
    with pytest.raises(UserError) as refused:
        contraflow.audit(*arguments, **{"out": out} | settings)
    assert not out.exists()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_edits_in_the_place_of_a_tokenizer_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "LORA", "BMW/edits.jsonl")
    assert "'BMW/edits.jsonl' is given as tokenizer" in said
    assert "edits=…" in said


@pytest.mark.parametrize("edits", [(), []])
def test_missing_edits_are_refused(tmp_path: Path, edits: Any) -> None:
    assert "there are no edits" in refusal(tmp_path, "LORA", edits=edits)


def test_refused_edits_leave_those_of_an_audit(tmp_path: Path) -> None:
    kept = tmp_path / "edits.jsonl"
    write_edits(kept, [EDIT])
    before = kept.read_bytes()
    for edits in (
        (),
        [Edit(fact=Fact(fact_id="oslo", subject="Oslo", edit_fact="Oslo is in Fiji."))],
    ):
        with pytest.raises(UserError):
            contraflow.audit("LORA", edits=edits, out=tmp_path)
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"styles": ("foo",)}, "ask=foo: must be among few_shot, bare, chat"),
        ({"styles": ()}, "ask=: names no style"),
        ({"ask": "bare,bare"}, "names a style twice"),
        ({"ask": "bare", "styles": "bare"}, "ask= and styles= are the same"),
        ({"styles": 3}, "styles=3: must be a list of texts"),
        ({"n": "8"}, "n='8': must be a whole number"),
        ({"n": 2.5}, "n=2.5: must be a whole number"),
        ({"n": True}, "n=True: must be a whole number"),
        ({"n": 1}, "n=1: must be at least 2"),
        ({"seed": -1}, "seed=-1: must be at least 0"),
        ({"adapt_steps": -1}, "adapt_steps=-1: must be at least 0"),
        ({"names": "a,b"}, "names=a,b: gives 2 for 1 edited models"),
        ({"stlyes": "bare"}, "stlyes= is unknown; there is n, styles, ask"),
        ({"config": ["judge=any"]}, "config=list: must be a Config"),
        ({"edits": [FACT]}, "edits[0] is a Fact; make each an Edit(fact=Fact(…))"),
        ({"edits": [EDIT, {}]}, "edits[1] is a dict; make each an Edit"),
        ({"edits": 3}, "edits=3: must be a file of edits"),
        ({"prefix": 3}, "prefix=3: must be a text"),
        ({"questions": 3}, "questions=3: must be a file"),
        ({"questions": "q.jsonl", "n": 8}, "n=8: is how many questions are drawn, and those of"),
        ({"fail_over": 0.2}, "compare report.result.models[0].edit_failure.low with it"),
        ({"names": [" "]}, "has an empty name"),
        ({"run": object()}, "run=object: must be the folder of a run, shipped or untrained"),
    ],
)
def test_settings_are_refused_by_name(tmp_path: Path, settings: dict[str, Any], part: str) -> None:
    assert part in refusal(tmp_path, "LORA", **{"edits": [EDIT]} | settings)


@pytest.mark.parametrize(("edited", "part"), [(None, "edited=NoneType"), ([], "names no model")])
def test_edited_must_name_a_model(tmp_path: Path, edited: Any, part: str) -> None:
    assert part in refusal(tmp_path, edited, edits=[EDIT])


def test_two_models_need_two_names(tmp_path: Path) -> None:
    said = refusal(tmp_path, ["BMW", "LORA"], edits=[EDIT], names="a,a")
    assert "names=a,a: gives two models one name" in said


def test_a_module_needs_a_tokenizer_and_edits(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    assert "needs its tokenizer" in refusal(tmp_path, module, None)
    assert "'BMW', is a text: must be a tokenizer" in refusal(tmp_path, module, "BMW")
    assert "there are no edits" in refusal(tmp_path, module, word_tokenizer())


@pytest.mark.parametrize("tokenizer", [torch.nn.Linear(1, 1), object()])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    said = refusal(tmp_path, torch.nn.Linear(1, 1), tokenizer, [EDIT])
    assert f"audit: {type(tokenizer).__name__} is given as tokenizer; give the tokenizer" in said


@pytest.mark.parametrize(
    ("control", "part"),
    [
        (None, "an edited model needs its control"),
        (
            {"w": np.zeros((2, 2))},
            "control['w'] is a ndarray; give the original weights as tensors",
        ),
        ({"w": torch.zeros(2, 2)}, "control: the model has no tensor w"),
        ({}, "control: holds no tensors"),
        (torch.nn.Linear(1, 1), "control: Linear is no torch module with a method `generate`"),
        ("BMW", "the control of a module is a module"),
    ],
)
def test_a_control_that_does_not_fit_is_refused(tmp_path: Path, control: Any, part: str) -> None:
    """Before the sampler loads, and before there is a folder."""
    model = tiny_model("llama")
    assert part in refusal(tmp_path, model, word_tokenizer(), [EDIT], control=control)


@pytest.mark.parametrize("control", [["BMW"], 3, {"w": torch.zeros(1)}])
def test_the_control_of_a_name_is_a_name(tmp_path: Path, control: Any) -> None:
    said = refusal(tmp_path, "LORA", edits=[EDIT], control=control)
    assert f"control={type(control).__name__}: a model that is named needs" in said


@pytest.mark.parametrize("out", [None, 3, "", " "])
def test_out_must_be_a_path(out: Any) -> None:
    with pytest.raises(UserError, match=r"^audit: out=.*: must be the path of a folder$"):
        contraflow.audit("LORA", edits=[EDIT], out=out)


@pytest.mark.parametrize("place", ["file", "file/AUD"])
def test_a_file_is_no_folder_of_an_audit(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"^out={tmp_path}/{place}: "):
        contraflow.audit("LORA", edits=[EDIT], out=tmp_path / place)


def test_a_sampler_without_an_adapter_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "LORA", edits=[EDIT], run="untrained", adapt_steps=2)
    assert said.startswith("adapt_steps: run=untrained has no adapter")


@pytest.mark.parametrize("share", ["0.2", 7, -0.1, math.nan, True])
def test_a_limit_must_be_a_share(tmp_path: Path, share: Any) -> None:
    request = AuditRequest(edits=Path("e.jsonl"), out=tmp_path, fail_over=share)
    with pytest.raises(UserError, match=r"^fail_over=.*: must be a share from 0 to 1$"):
        request.check()


def test_one_text_is_one_name_or_several_words() -> None:
    assert as_settings({"names": "rome"})["names"] == ("rome",)
    assert as_settings({"ask": "bare, chat"})["styles"] == ("bare", "chat")
    assert as_settings({"questions": "q.jsonl"})["questions"] == Path("q.jsonl")


def test_edits_in_memory_are_those_of_their_file(tmp_path: Path) -> None:
    """A repeated edit is joined as in a file, and messages name the file to be written."""
    twice = (EDIT, Edit(fact=FACT, prompt="The land of Rome is"))
    name = tmp_path / "edits.jsonl"
    found = AuditRequest(edits=name, out=tmp_path, given=twice).file
    assert not name.exists()
    write_edits(name, twice)
    assert found == read_edits(name)
