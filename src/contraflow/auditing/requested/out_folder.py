"""The folder of an audit: what is in it already must be the same audit, not somebody's work.

An audit that was stopped goes on in its folder, and one that is repeated with other edits among the
same, more models, more questions or other settings replaces its own report. Everything else there
is refused: before a model loads, or, where a model behind one name has changed, before it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from contraflow.auditing.outcome.finished import (
    ANSWERS,
    EDITS,
    GROWING,
    QUESTIONS,
    REPORT,
    RESULT,
)
from contraflow.auditing.outcome.result import IN_MEMORY
from contraflow.auditing.requested.prefixes import check_same_prefixes, with_prefix
from contraflow.errors import UserError
from contraflow.facts.edits import Edit, read_edits
from contraflow.run.lock import LOCK, exclusive_lock
from contraflow.run.own_files import is_run
from contraflow.system.kept_lines import holds_lines
from contraflow.system.progress import print_plain
from contraflow.system.same_file import is_same_file
from contraflow.system.writable import check_out_folder

BUSY = "another audit is running in this folder; wait for it to end, or name another out="
MOST_NAMED = 3
_WRITTEN = (RESULT, QUESTIONS, EDITS, REPORT)


class _Source(msgspec.Struct, frozen=True):
    source: str
    identity: str = ""


class _Model(msgspec.Struct, frozen=True):
    model: _Source


class _Earlier(msgspec.Struct, frozen=True):
    """What `audit.json` says of its models, in any version."""

    control: _Source
    models: tuple[_Model, ...]
    settings: dict[str, str] = {}

    @property
    def prefix(self) -> str:
        """The template of the edits in the prompt, if there was one."""
        return self.settings.get("prefix", "")


def check_out(
    out: Path,
    *,
    edited: Sequence[str],
    control: str | None,
    edits: Sequence[Edit],
    inputs: Mapping[str, Path | None],
) -> None:
    """Check that the files of an audit replace nothing but those of the same audit.

    Args:
        edited, control: sources of the models; none of them for modules in memory.
        edits: with the text that is put before their questions.
        inputs: files that are read, by argument. Edits may be the audit's own `edits.jsonl`.
    Raises: UserError naming the folder, what is in it and the remedy.
    """
    check_out_folder("out", out)
    _check_inputs(out, inputs)
    if is_run(out):
        raise UserError(
            f"out={out}: is the folder of a run, and its report would be lost; name another "
            "folder with out="
        )
    _check_growing(out)
    if not (out / RESULT).is_file():
        _check_others(out, inputs)
        return
    earlier = _read(out / RESULT)
    if earlier is not None:
        _check_models(out, earlier, edited or (IN_MEMORY,), control)
    _check_edits(out, earlier, edits)


def check_content(out: Path, edited: Mapping[str, str], control: str) -> None:
    """Check that an audit in this folder was one of models with the same content.

    A model that was edited again in its place has the old name.

    Args:
        edited: the identity of each edited model, by its source.
        control: the identity of the control.
    Raises: UserError naming the model and the remedy.
    """
    earlier = _read(out / RESULT)
    if earlier is None:
        return
    _check_same(out, "control", earlier.control, control)
    for model in earlier.models:
        for source, identity in edited.items():
            if is_same_source(model.model.source, source):
                _check_same(out, "edited model", model.model, identity)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other audits out of the folder; an audit that is refused leaves none behind.

    Raises: UserError where another process audits into it.
    """
    is_new = not out.exists()
    with exclusive_lock(out, BUSY):
        try:
            yield
        finally:
            if is_new and [path.name for path in _files(out)] == [LOCK]:
                (out / LOCK).unlink()
                out.rmdir()


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _check_same(out: Path, role: str, earlier: _Source, identity: str) -> None:
    if earlier.identity not in ("", identity):
        raise UserError(
            f"out={out}: holds an audit of the {role} {earlier.source} with other weights, "
            "tokenizer or dtype, which would be lost; name another folder with out="
        )


def _read(path: Path) -> _Earlier | None:
    """None without a file, and for a damaged one, whose remedy is to audit again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Earlier)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _check_inputs(out: Path, inputs: Mapping[str, Path | None]) -> None:
    given = inputs.get("edits")
    keeps_edits = given is not None and is_same_file(given, out / EDITS)
    for key, path in inputs.items():
        for name in _WRITTEN:
            is_kept = name == EDITS and keeps_edits
            if path is not None and not is_kept and is_same_file(path, out / name):
                raise UserError(
                    f"{key}={path}: would be replaced, as an audit in out={out} writes {name}; "
                    "name another folder with out="
                )


def _check_growing(out: Path) -> None:
    """What an audit adds lines to must be its own: a damaged end is cut off."""
    for name, first_field in GROWING.items():
        if not holds_lines(out / name, first_field):
            raise _not_ours(out, name)


def _not_ours(out: Path, name: str) -> UserError:
    return UserError(
        f"out={out}: has {name}, which no audit wrote, and it would be replaced; move it, or name "
        "another folder with out="
    )


def _check_others(out: Path, inputs: Mapping[str, Path | None]) -> None:
    """Without an audit or its answers, files of such names are somebody else's."""
    if (out / ANSWERS).exists():
        return
    for name in (QUESTIONS, EDITS, REPORT):
        is_input = any(path and is_same_file(path, out / name) for path in inputs.values())
        if (out / name).exists() and not is_input:
            raise _not_ours(out, name)


def _check_models(out: Path, earlier: _Earlier, edited: Sequence[str], control: str | None) -> None:
    sources = [model.model.source for model in earlier.models]
    missing = [old for old in sources if not any(is_same_source(old, new) for new in edited)]
    if missing:
        raise UserError(
            f"out={out}: holds the audit of {','.join(missing)}, which that of {','.join(edited)} "
            "would replace; name another folder with out=, or all these models with edited="
        )
    if control is not None and not is_same_source(earlier.control.source, control):
        raise UserError(
            f"out={out}: holds an audit with control={earlier.control.source}, which one with "
            f"control={control} would replace; name another folder with out="
        )


def is_same_source(old: str, new: str) -> bool:
    """Whether two names of models lead to one model, as far as names and paths tell."""
    if old.rstrip("/") == new.rstrip("/"):
        return True
    return Path(new).expanduser().exists() and is_same_file(old, new)


def _check_edits(out: Path, earlier: _Earlier | None, edits: Sequence[Edit]) -> None:
    """Edits may be mended, added or left out; with none in common it is another audit.

    So it is with another text before the questions about one of them.
    """
    try:
        kept = read_edits(out / EDITS).edits
    except UserError:  # none was kept, or it is damaged
        return
    before = {edit.fact.key for edit in kept} | {edit.fact.edit_fact for edit in kept}
    if not any(edit.fact.key in before or edit.fact.edit_fact in before for edit in edits):
        raise UserError(
            f"out={out}: holds the audit of other edits ({out / EDITS}), which would be lost; "
            "name another folder with out="
        )
    now = {edit.fact.key for edit in edits} | {edit.fact.edit_fact for edit in edits}
    gone = [e for e in kept if e.fact.key not in now and e.fact.edit_fact not in now]
    if gone:
        names = ", ".join(edit.fact.subject for edit in gone[:MOST_NAMED])
        more = f" and {len(gone) - MOST_NAMED} more" if len(gone) > MOST_NAMED else ""
        print_plain(
            f"out={out}: of its earlier audit {len(gone)} of {len(kept)} edits are left out now: "
            f"{names}{more}; their answers are kept"
        )
    if earlier is not None:
        check_same_prefixes(out, with_prefix(kept, earlier.prefix), edits)
