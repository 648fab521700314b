"""Open the models of an audit, run it, and write what it found.

`run_audit` is for models that are named; `contraflow.audit` takes modules in memory too.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import contraflow
from contraflow.auditing.asking.evidence import Evidence, model_info
from contraflow.auditing.asking.judgements import with_judgements
from contraflow.auditing.asking.pipeline import Audit, AuditSettings
from contraflow.auditing.exporting.formats import export_audit
from contraflow.auditing.exporting.selection import AuditSelection
from contraflow.auditing.outcome.finished import (
    ANSWERS,
    EDITS,
    QUESTIONS,
    RESULT,
    is_part_of_audit,
    read_audit,
)
from contraflow.auditing.outcome.result import IN_MEMORY, AuditResult, write_result
from contraflow.auditing.outcome.rows import Row, write_rows
from contraflow.auditing.report.page import write_report
from contraflow.auditing.report.terminal import text_report
from contraflow.auditing.requested.arguments import (
    as_edits,
    as_folder,
    as_run,
    as_settings,
    as_sources,
)
from contraflow.auditing.requested.out_folder import check_content, locked
from contraflow.auditing.requested.parts import check_control, check_parts
from contraflow.auditing.requested.request import AuditRequest
from contraflow.auditing.searching.adapt import AdaptSettings
from contraflow.auditing.searching.search import adapted, check_can_adapt, most_asked
from contraflow.auditing.summarizing.modes import Embed, remembering
from contraflow.auditing.summarizing.summary import differences, summarize
from contraflow.errors import UserError
from contraflow.export import Written
from contraflow.facts.edits import Edit, check_edits, write_edits
from contraflow.models.embedder import load_embedder
from contraflow.reward.judge.scores import Judge
from contraflow.run.answer_book import AnswerBook
from contraflow.run.answerers import Answerers, answerers_of_modules, open_answerers
from contraflow.run.encoder import why_no_encoder
from contraflow.run.own_checks import check_own
from contraflow.run.own_objects import NO_OWN, OwnObjects
from contraflow.run.sampler_identity import sampler_identity
from contraflow.run.session import Run, open_run
from contraflow.settings import Config
from contraflow.settings.compose import compose_config
from contraflow.system.run_names import SHIPPED, UNTRAINED
from contraflow.system.same_file import is_same_file


@dataclass(frozen=True)
class AuditReport:
    """A finished audit: its result, its rows, and the folder with the report."""

    result: AuditResult
    rows: Sequence[Row]
    folder: Path

    @property
    def html(self) -> Path:
        """The report for people."""
        return self.folder / "report.html"

    def __str__(self) -> str:
        return text_report(self.result)

    def export(
        self,
        out: str | Path,
        format_name: str = "edits",
        *,
        only: Sequence[str] = ("failing",),
        edited: str | None = None,
        per_fact: int | None = None,
    ) -> Written:
        """Write failing questions for a benchmark or the next edit.

        Args:
            format_name: edits, easyedit, qaedit or csv.
            only, edited, per_fact: as in `AuditSelection`.
        Raises: UserError where no question is left, or the file cannot be written.
        """
        if is_part_of_audit(Path(out)):
            raise UserError(f"out={out}: is a file of an audit; choose another place with out=")
        selection = AuditSelection(tuple(only), edited, per_fact)
        return export_audit(read_audit(self.folder), Path(out), format_name, selection)


def run_audit(
    request: AuditRequest, config: Config | None = None, judge: Judge | None = None
) -> AuditReport:
    """Audit models that are given by name. Call `request.check()` first.

    Args:
        config: settings of who answers and who judges; None for those of the sampler's run.
        judge: of the caller's own, in place of that of the settings.
    Raises: UserError for whatever a user can mend.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(request.out))
        run = _opened(request.run, config, judge)
        models = open_answerers(
            request.edited, request.control, config=run.config, names=request.model_names
        )
        for model in (models.control, *models.edited):
            stack.callback(getattr(model, "close", _nothing))
        return _audited(request, run, models, OwnObjects(judge))


def audit(
    edited: nn.Module | str | Path | Sequence[str | Path],
    tokenizer: Any = None,
    edits: str | Path | Iterable[Edit] = (),
    *,
    control: nn.Module | Mapping[str, Tensor] | str | Path | None = None,
    out: str | Path = "audits/audit",
    run: str | Path = SHIPPED,
    config: Config | None = None,
    judge: Judge | None = None,
    **settings: Any,
) -> AuditReport:
    """Audit an edited model, in memory or by name.

    Args:
        edited: a module with `generate`, as editing libraries hand it over; or what `edited=` of
            `contraflow audit` takes.
        tokenizer: of a module.
        edits: a file, or edits.
        control: the unedited module, the dict of original weights that an editor returned, or a
            name; None for an adapter, whose control is its base.
        judge: of the caller's own, in place of that of the run or the config.
        settings: n, styles (or ask), seed, adapt_steps, questions, neighbors, prefix, names: the
            arguments of `AuditRequest`.
    Raises: UserError for whatever a user can mend; nothing is written before.
    """
    sources = () if isinstance(edited, nn.Module) else as_sources(edited)
    check_parts(edited, tokenizer, control, config)
    own = OwnObjects(judge)
    check_own("audit", own)
    request = _request_of(as_edits(edits), as_folder(out), as_run(run), settings)
    if not isinstance(edited, nn.Module):
        named = None if control is None else str(control)
        request = replace(request, edited=sources, control=named)
        request.check()
        return run_audit(request, config, judge)
    request.check()
    assert not isinstance(control, str | Path)  # as `check_parts` has found
    check_control(edited, control)
    with ExitStack() as stack:
        stack.enter_context(locked(request.out))
        session = _opened(request.run, config, judge)
        name = request.names[0] if request.names else "edited"
        pair = answerers_of_modules(
            edited, tokenizer, control=control, config=session.config, names=(name, "control")
        )
        stack.callback(pair.edited.close)
        stack.callback(pair.control.close)
        return _audited(request, session, Answerers((pair.edited,), pair.control), own)


def _request_of(
    edits: Path | tuple[Edit, ...], folder: Path, run: str, settings: Mapping[str, Any]
) -> AuditRequest:
    """Edits in memory will be in the folder of the audit."""
    more = as_settings(settings)
    if isinstance(edits, Path):
        return AuditRequest(edits=edits, out=folder, run=run, **more)
    return AuditRequest(edits=folder / EDITS, out=folder, run=run, given=edits, **more)


def _opened(run: str, config: Config | None, judge: Judge | None) -> Run:
    """The sampler of an audit; `untrained` is that of the default settings without others."""
    if run == UNTRAINED and config is None:
        config = compose_config()
    return open_run(run, config, judge=judge)


def _nothing() -> None:
    return None


def _audited(
    request: AuditRequest, run: Run, models: Answerers, own: OwnObjects = NO_OWN
) -> AuditReport:
    """Ask everything, compute the rates, write the files of the audit."""
    file = request.file
    sources = request.edited or (IN_MEMORY,)
    check_content(
        request.out,
        {source: model.identity for source, model in zip(sources, models.edited, strict=True)},
        models.control.identity,
    )
    run.check_facts([edit.fact for edit in file.edits])
    adapting = _adapting(request)
    pipeline = Audit(
        policy=run.policy,
        sampler_identity=sampler_identity(run),
        control=models.control,
        edited=models.edited,
        sources=sources,
        edits=file.edits,
        settings=AuditSettings(
            request.n,
            request.styles,
            request.seed,
            own=request.own_questions(),
            n_adapting=0 if adapting is None else most_asked(adapting),
        ),
        out=request.out,
        neighbors=request.neighbor_facts(),
    )
    if adapting is not None:
        check_can_adapt(pipeline)
    request.out.mkdir(parents=True, exist_ok=True)
    embed = remembering(load_embedder()) if why_no_encoder() is None else None
    with AnswerBook(request.out / ANSWERS) as book, _says_what_is_kept(request.out):
        evidence = pipeline.evidence(book)
        if adapting is not None:
            evidence = adapted(pipeline, book, evidence, run.judge, embed, adapting)
    evidence = [with_judgements(found, run.judge, file.edits) for found in evidence]
    return _conclude(request, run, models, evidence, embed, own)


@contextmanager
def _says_what_is_kept(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"all answers are kept in {out}, and the same command goes on")
        raise


def _adapting(request: AuditRequest) -> AdaptSettings | None:
    """How the sampler is adapted to each edit; None where nobody asks for it."""
    if not request.adapt_steps:
        return None
    return AdaptSettings(steps=request.adapt_steps, seed=request.seed)


def _conclude(
    request: AuditRequest,
    run: Run,
    models: Answerers,
    evidence: Sequence[Evidence],
    embed: Embed | None,
    own: OwnObjects,
) -> AuditReport:
    rows = [row for found in evidence for row in found.rows]
    # What served models were asked is complete only now.
    evidence = [
        replace(found, model=model_info(model, found.model.source))
        for found, model in zip(evidence, models.edited, strict=True)
    ]
    results = tuple(summarize(found, request.styles, embed) for found in evidence)
    result = AuditResult(
        contraflow=contraflow.__version__,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        settings=request.shown(),
        edits=str(request.edits),
        n_edits=len(request.file.edits),
        control=model_info(
            models.control,
            request.control or (models.control.name if request.edited else IN_MEMORY),
        ),
        sampler=run.name,
        models=results,
        differences=differences(evidence, request.styles[0]),
        notes=(
            *request.file.notes,
            *check_edits(request.file.edits),
            *(f"{role} of the caller's own: {text}" for role, text in own.shown.items()),
        ),
    )
    # A kill between these files must not leave an earlier result beside new questions.
    (request.out / RESULT).unlink(missing_ok=True)
    _keep_edits(request)
    write_rows(request.out / QUESTIONS, rows)
    write_result(request.out / RESULT, result)
    write_report(request.out, result, rows)
    return AuditReport(result, rows, request.out)


def _keep_edits(request: AuditRequest) -> None:
    """Put the edits into the folder, so that it says by itself what the questions are about."""
    kept = request.out / EDITS
    if request.given or not is_same_file(request.edits, kept):
        write_edits(kept, request.file_as_given.edits)
