"""What `contraflow.audit` refuses in one line, before it writes or loads anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import contraflow
from contraflow.auditing.arguments import as_settings
from contraflow.auditing.request import AuditRequest
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit, read_edits, write_edits

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
    assert "needs its tokenizer" in refusal(tmp_path, module, "BMW/edits.jsonl")
    assert "there are no edits" in refusal(tmp_path, module, object())


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
