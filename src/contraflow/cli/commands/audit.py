"""`contraflow audit`: what an edited model still believes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._run_target import MAX_QUESTIONS, RUN, run_config
from contraflow.errors import UserError

if TYPE_CHECKING:
    from contraflow.auditing.outcome.result import AuditResult
    from contraflow.types import AskStyle

FAILED = 1
NO_ESTIMATE = 3


def run(args: ParsedArguments) -> int:
    """Check all arguments, open the models, audit, write the report, print the headline.

    With `fail_over`, returns 1 where it is exceeded, and 3 where that cannot be told.
    """
    from contraflow.auditing.requested.arguments import check_n_counts
    from contraflow.auditing.requested.request import AuditRequest

    check_n_counts(args.values)
    request = AuditRequest(
        run=args.required("run"),
        edited=_edited(args),
        names=_list(args, "names"),
        control=args.text("control"),
        edits=args.required_path("edits"),
        out=args.required_path("out"),
        n=args.integer("n", 2, MAX_QUESTIONS),
        styles=_styles(args),
        seed=args.integer("seed", 0),
        adapt_steps=args.integer("adapt_steps", 0),
        questions=args.path("questions"),
        neighbors=args.required("neighbors"),
        prefix=args.text("prefix") or "",
        fail_over=_share(args, "fail_over"),
        overrides=_settings(args),
    )
    _check_temperature(args)
    request.check()
    config = run_config(args)

    from contraflow.auditing.session import run_audit

    report = run_audit(request, config)
    print(report)
    print(f"report: {report.html}")
    return 0 if request.fail_over is None else _compared(report.result, request.fail_over)


def _list(args: ParsedArguments, key: str) -> tuple[str, ...]:
    text = args.text(key) or ""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _edited(args: ParsedArguments) -> tuple[str, ...]:
    sources = args.sources("edited")
    if not sources:
        raise UserError(f"edited={args.text('edited')}: names no model; give at least one")
    return sources


def _styles(args: ParsedArguments) -> tuple[AskStyle, ...]:
    """The styles of asking, which the request checks; one that is given twice counts once."""
    return cast("tuple[AskStyle, ...]", tuple(dict.fromkeys(_list(args, "ask"))))


def _share(args: ParsedArguments, key: str) -> float | None:
    text = args.text(key)
    if text is None:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise UserError(f"{key}={text}: must be a share from 0 to 1")
    return share


def _settings(args: ParsedArguments) -> tuple[str, ...]:
    """The settings as they were given, with the folder of the user's own groups."""
    folder = () if args.config_dir is None else (f"--config-dir={args.config_dir}",)
    return (*args.overrides, *folder)


def _check_temperature(args: ParsedArguments) -> None:
    if args.positive("temperature") != 1.0:
        raise UserError(
            f"temperature={args.text('temperature')}: the rates are about questions drawn at "
            "temperature 1, where their probabilities are known; leave it out"
        )


def _compared(result: AuditResult, limit: float) -> int:
    """The exit code: 1 where the lower bound of any model's edit-failure rate is above the limit.

    3 where none is, but a model has no estimate: a build must not pass for want of evidence.
    """
    code = 0
    for model in result.models:
        low = model.edit_failure.low
        if low is None:
            print(f"{model.model.name}: no estimate of edit failure to compare with fail_over")
            code = code or NO_ESTIMATE
        elif low > limit:
            print(
                f"{model.model.name}: edit failure is at least {low:.3f}, over fail_over={limit:g}"
            )
            code = FAILED
    return code


COMMAND = Command(
    name="audit",
    summary="what an edited model still believes: failure rates with intervals",
    description="""
    Asks an edited model, and the unedited one it was made from (the control), many different
    natural questions about every edit. Reports in what share of them the control tells the old fact
    and the edited model does not tell the new one (edit failure), or still tells the old one
    (residual belief), with 95 % intervals; which kinds of questions those are; and what else broke.

    The questions are drawn by a sampler, half of them with its adapter switched off: these are the
    natural questions that the rates are about. The trained half finds more failures. Both halves
    have known probabilities, by which the answers are weighted: a rate is of the reference,
    whatever the sampler prefers to ask.

    edited= and control= name a folder or hub model, a PEFT adapter's folder, a delta.safetensors
    (tensors that replace the control's), or a served model as openai:http://HOST:PORT/v1#MODEL (its
    key is read from CONTRAFLOW_API_KEY, else OPENAI_API_KEY).

    Answers are kept in the folder: an audit that was stopped goes on, and nothing is asked twice.
    Writes report.html, audit.json and questions.jsonl; `contraflow export in=FOLDER` makes a
    benchmark or the next edit's lessons of the failing questions. docs/audit.md explains every
    number.
    """,
    examples=(
        "contraflow audit run=shipped edited=my_edited control=packaged:smollm2-135m-instruct "
        "edits=edits.jsonl out=audits/mine",
        "contraflow audit edited=rome/delta.safetensors,lora names=rome,lora "
        "control=gpt2-xl edits=counterfact.json ask=few_shot,bare",
        "contraflow audit edited=openai:http://localhost:8000/v1#edited "
        "control=openai:http://localhost:8000/v1#base edits=edits.jsonl fail_over=0.2",
    ),
    run=run,
    arguments=(
        Argument(
            RUN.name,
            RUN.metavar,
            "the sampler of the questions: a run folder, `shipped`, or `untrained`",
            default="shipped",
        ),
        Argument("edited", "MODEL,…", "the edited models, separated by commas", required=True),
        Argument(
            "control",
            "MODEL",
            "the model before the edits; not needed for an adapter, which names its base",
        ),
        Argument(
            "edits",
            "FILE",
            "a facts file, CounterFact, zsRE, MQuAKE, RippleEdits, KnowEdit, or EasyEdit's results",
            required=True,
        ),
        Argument("names", "NAME,…", "names of the edited models in the report"),
        Argument("n", "N", "different questions per edit", default="32"),
        Argument("ask", "STYLE,…", "few_shot, bare, chat; the first is the headline's", "few_shot"),
        Argument(
            "adapt_steps",
            "K",
            "train the sampler for K steps per edit against the edited model, to find more",
            default="0",
        ),
        Argument(
            "questions",
            "FILE",
            "your own questions instead of the n draws: JSONL with question and fact_id or subject",
        ),
        Argument(
            "neighbors",
            "FILE",
            "facts that locality and two-hop questions are made from; shipped, none, or a file",
            default="shipped",
        ),
        Argument(
            "prefix",
            "TEXT",
            "put before each question to the edited model, with {edit_fact} and {subject}: an edit "
            "in the prompt",
        ),
        Argument(
            "fail_over", "SHARE", "exit code 1 if edit failure is surely above this, 3 if unknown"
        ),
        Argument("temperature", "1", "of the draws; no other gives rates", default="1"),
        Argument("seed", "N", "the same seed draws the same questions", default="0"),
        Argument("out", "FOLDER", "folder of the audit", default="audits/audit"),
    ),
    overrides="settings such as oracle.max_answer_tokens=30, judge=any or model.device=cuda",
)


def check(args: ParsedArguments) -> int:
    """Print the gates and weights of a finished audit; 1 if one of its conditions failed."""
    from contraflow.auditing.outcome.finished import finished_result
    from contraflow.auditing.report.meanings import weights_line, weights_verdict

    result = finished_result(args.required_path("out"))
    sound = True
    for model in result.models:
        print(model.model.name)
        for gate in model.gates:
            print(f"  {'passed' if gate.passed else 'FAILED'}  {gate.name}: {gate.detail}")
        print(f"  {weights_line(model.weights)}")
        print(f"  {weights_verdict(model.weights)}")
        sound = sound and not model.warnings and all(gate.passed for gate in model.gates)
    for note in result.notes:
        print(f"note: {note}")
    return 0 if sound else FAILED


CHECK = Command(
    name="audit check",
    summary="what the numbers of an audit rest on: gates, weights, sample sizes",
    description="""
    Reads a finished audit and prints its conditions (does the edited model differ, does the control
    know the facts, has the edited model collapsed), and whether the weights of the draws support
    its rates. The exit code is 1 where one of them failed.
    """,
    examples=("contraflow audit check out=audits/mine",),
    run=check,
    arguments=(Argument("out", "FOLDER", "the folder of the audit", required=True),),
)
