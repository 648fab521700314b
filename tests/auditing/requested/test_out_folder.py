"""Which folders an audit may write into; nothing is asked and no model is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from contraflow.auditing.outcome.finished import GROWING
from contraflow.auditing.outcome.result import IN_MEMORY, ModelInfo, read_result, write_result
from contraflow.auditing.requested.out_folder import check_content, check_out, locked
from contraflow.auditing.requested.prefixes import with_prefix
from contraflow.auditing.requested.request import AuditRequest
from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.edits import Edit, write_edits
from support.audits import made_result

CONTROL = "packaged:smollm2-135m-instruct"


def edit(subject: str) -> Edit:
    fact = Fact(
        fact_id=subject,
        subject=subject,
        edit_fact=f"{subject} is in Lyon.",
        original_answer="Paris",
        edited_answer="Lyon",
    )
    return Edit(fact=fact)


EDITS = (edit("The Louvre"), edit("The Sorbonne"))


def put_audit(folder: Path, *sources: str, identity: str = "id") -> Path:
    """A finished audit of these models about `EDITS`; returns its folder."""
    folder.mkdir()
    made = made_result(n_models=len(sources))
    models = tuple(
        msgspec.structs.replace(
            model, model=ModelInfo(name=f"m{i}", source=source, identity=identity)
        )
        for i, (model, source) in enumerate(zip(made.models, sources, strict=True))
    )
    write_result(folder / "audit.json", msgspec.structs.replace(made, models=models))
    write_edits(folder / "edits.jsonl", EDITS)
    for name in ("questions.jsonl", "report.html"):
        (folder / name).write_text("{}\n")
    (folder / "answers.jsonl").write_text('{"oracle":"a","question":"b","answer":"c"}\n')
    return folder


def check(out: Path, *edited: str, **changes: object) -> None:
    """The check of a request, with the audit's own edits unless others are given."""
    arguments = {"control": None, "edits": EDITS, "inputs": {}} | changes
    check_out(out, edited=edited, **arguments)  # type: ignore[arg-type]


def test_the_audit_of_another_model_is_kept(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW")
    with pytest.raises(UserError, match=rf"out={out}: holds the audit of BMW, .*LORA.*out="):
        check(out, "LORA")


def test_an_audit_is_kept_when_one_of_its_models_is_left_out(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW", "LORA")
    with pytest.raises(UserError, match=r"holds the audit of BMW, .*edited="):
        check(out, "LORA")


def test_the_same_audit_is_repeated_in_its_folder(tmp_path: Path) -> None:
    """As written or by another path, with further models, and with some edits changed."""
    model = tmp_path / "BMW"
    model.mkdir()
    out = put_audit(tmp_path / "AUD", str(model))
    for edited in (str(model), f"{model}/", str(tmp_path / "AUD" / ".." / "BMW")):
        check(out, edited)
    check(out, "LORA", str(model), control=CONTROL)
    check(out, str(model), edits=(EDITS[0], edit("The Pantheon")))
    check(out, str(model), inputs={"edits": out / "edits.jsonl"})


def test_edits_that_are_left_out_now_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their rows leave the files of the audit."""
    out = put_audit(tmp_path / "AUD", "BMW")
    check(out, "BMW", edits=(EDITS[0], edit("The Pantheon")))
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 2 edits are left out now: The Sorbonne; their answers are kept" in said
    check(out, "BMW", edits=(*EDITS, edit("The Pantheon")))
    assert "left out" not in capsys.readouterr().err


def test_another_control_is_another_audit(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW")
    with pytest.raises(UserError, match=rf"control={CONTROL}.*control=gpt2"):
        check(out, "BMW", control="gpt2")


def test_other_edits_are_another_audit(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW")
    with pytest.raises(UserError, match=rf"the audit of other edits \({out}/edits.jsonl\)"):
        check(out, "BMW", edits=(edit("The Pantheon"),))


def test_a_module_with_other_weights_is_another_model(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", IN_MEMORY, identity="abc")
    check(out)
    check_content(out, {IN_MEMORY: "abc"}, "c0")
    with pytest.raises(UserError, match=rf"out={out}: .*other weights.*out="):
        check_content(out, {IN_MEMORY: "def"}, "c0")


def test_a_model_that_was_edited_again_is_another_model(tmp_path: Path) -> None:
    """It has the old path; one that was not there before replaces nothing."""
    out = put_audit(tmp_path / "AUD", "BMW", identity="abc")
    check_content(out, {"LORA": "def", "BMW/": "abc"}, "c0")
    with pytest.raises(UserError, match=rf"^out={out}: holds an audit of the edited model BMW wit"):
        check_content(out, {"LORA": "def", "BMW": "abd"}, "c0")


def test_a_control_that_has_changed_is_another_control(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW", identity="abc")
    with pytest.raises(UserError, match=rf"the control {CONTROL} with other weights.*out="):
        check_content(out, {"BMW": "abc"}, "c1")
    check_content(tmp_path / "NEW", {"BMW": "abc"}, "c1")


def test_another_prefix_is_another_audit(tmp_path: Path) -> None:
    """The text before the questions is the edit, whether the template or the file has it."""
    out = put_audit(tmp_path / "AUD", "BMW")
    prefixed = with_prefix(EDITS, "Imagine that {edit_fact}")
    with pytest.raises(UserError, match=r"no prefix before .*The Louvre, .*'Imagine that The L"):
        check(out, "BMW", edits=prefixed)
    put_settings(out, prefix="Imagine that {edit_fact}")
    check(out, "BMW", edits=prefixed)
    for other in (EDITS, with_prefix(EDITS, "Know that {edit_fact}")):
        with pytest.raises(UserError, match=rf"^out={out}: holds an audit with the prefix 'Imag"):
            check(out, "BMW", edits=other)


def put_settings(folder: Path, **settings: str) -> None:
    result = read_result(folder / "audit.json")
    write_result(folder / "audit.json", msgspec.structs.replace(result, settings=settings))


def test_a_new_edit_may_have_a_prefix(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW")
    check(out, "BMW", edits=(*EDITS, *with_prefix([edit("The Pantheon")], "{edit_fact}")))


@pytest.mark.parametrize("place", ["file", "file/AUD"])
def test_a_folder_is_no_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"^out={tmp_path}/{place}: .*out="):
        check(tmp_path / place, "BMW")


def test_an_audit_locks_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "AUD"
    with (
        locked(out),
        pytest.raises(UserError, match=rf"^{out}: another audit is running in this .* out="),
        locked(out),
    ):
        raise AssertionError("two audits write one folder")


def test_an_audit_that_wrote_nothing_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "AUD"
    with pytest.raises(KeyError), locked(out):
        raise KeyError
    assert not out.exists()
    with locked(out):
        (out / "answers.jsonl").touch()
    with locked(out):
        pass
    assert (out / "answers.jsonl").exists()


@pytest.mark.parametrize("sources", [("BMW",), ()])
def test_a_named_model_and_a_module_are_two_models(tmp_path: Path, sources: tuple[str]) -> None:
    out = put_audit(tmp_path / "AUD", *([IN_MEMORY] if sources else ["BMW"]))
    with pytest.raises(UserError, match=r"holds the audit of"):
        check(out, *sources)


def test_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    for name in ("checkpoints", "evaluation"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"out={tmp_path}/runs: is the folder of a run"):
        check(tmp_path / "runs", "BMW")


@pytest.mark.parametrize("name", ["questions.jsonl", "edits.jsonl", "report.html"])
def test_files_that_no_audit_wrote_are_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"out={tmp_path}: has {name}, which no audit wrote"):
        check(tmp_path, "BMW")
    (tmp_path / "answers.jsonl").touch()  # an audit that was stopped
    check(tmp_path, "BMW")


@pytest.mark.parametrize("key", ["questions", "neighbors", "edits"])
def test_an_input_is_not_replaced_by_an_output(tmp_path: Path, key: str) -> None:
    own = tmp_path / "questions.jsonl"
    own.write_text("{}\n")
    with pytest.raises(UserError, match=rf"{key}={own}: would be replaced, as an audit in out="):
        check(tmp_path, "BMW", inputs={key: own})


def test_edits_may_lie_in_the_folder_of_their_audit(tmp_path: Path) -> None:
    own = tmp_path / "edits.jsonl"
    write_edits(own, EDITS)
    check(tmp_path, "BMW", inputs={"edits": own})


def test_a_damaged_result_does_not_stop_the_audit(tmp_path: Path) -> None:
    """Its remedy is to audit again."""
    out = put_audit(tmp_path / "AUD", "BMW")
    (out / "audit.json").write_text("{")
    check(out, "BMW")


def test_a_request_checks_its_folder_before_any_model(tmp_path: Path) -> None:
    out = put_audit(tmp_path / "AUD", "BMW")
    edits = shutil.copy(out / "edits.jsonl", tmp_path / "edits.jsonl")
    request = AuditRequest(edits=Path(edits), out=out, edited=("no-such-model",))
    with pytest.raises(UserError, match=r"holds the audit of BMW"):
        request.check()


@pytest.mark.parametrize("name", GROWING)
def test_a_file_that_would_grow_must_be_an_audits(tmp_path: Path, name: str) -> None:
    """Somebody's answers.jsonl, whose last line has no end, would lose that line."""
    content = '{"answer": "mine"}'
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"out={tmp_path}: has {name}, which no audit wrote"):
        check(tmp_path, "BMW")
    assert (tmp_path / name).read_text() == content
