"""The result of an audit: the types of `audit.json`, and reading and writing it.

Every rate is an `Estimate`. A number that the draws cannot support is None and its note says why;
no reader has to guess what a missing number means.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_atomically

SCHEMA_VERSION = 1
# The source of a model that was given as a module.
IN_MEMORY = "in memory"
VERDICTS = ("NEW", "OLD", "BOTH", "OTHER", "DEGENERATE")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its 95 % interval.

    n: questions, facts or prompts that it rests on; `ess`: their effective number after weighting.
    value, low and high are None where there is no estimate; `note` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    ess: float
    note: str = ""

    @classmethod
    def missing(cls, note: str, n: int = 0, ess: float = 0.0) -> Estimate:
        """No estimate, and why."""
        return cls(value=None, low=None, high=None, n=n, ess=ess, note=note)


class ServedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a served model was asked by the command that wrote the result.

    Answers that were kept from before cost nothing and are not in it. estimated: the server counts
    no tokens; seconds: time with at least one request in flight.
    """

    requests: int
    retries: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    estimated: bool


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was asked. `identity` is content: two models never share one."""

    name: str
    source: str
    identity: str
    usage: ServedUsage | None = None  # of a served model


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that the numbers rest on. A failed one is a warning, or stops the audit."""

    name: str
    passed: bool
    detail: str


class FailureMode(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster of failing questions of one fact, by meaning, with its likeliest question."""

    question: str
    pre_answer: str
    post_answer: str
    post: str
    n_questions: int
    questions: tuple[str, ...] = ()


class FactResult(msgspec.Struct, frozen=True, kw_only=True):
    """One edit under one edited model.

    original_from: where the original answer is from: "file", "control", or "" without one.
    counted: whether it is part of the rates; `why_not` says why it is not.
    asked: verdict on the answer to the edit's own prompt; forced: share of the new answer's tokens
        that are the model's most likely ones behind that prompt, None where nobody can say.
    """

    fact_id: str
    subject: str
    edit_fact: str
    original_answer: str
    edited_answer: str
    original_from: str
    counted: bool
    why_not: str
    asked: str
    asked_answer: str
    forced: float | None
    n_asked: int
    n_known: int
    n_failing: int
    n_residual: int
    edit_failure: Estimate
    residual_belief: Estimate
    self_contradiction: float | None
    modes: tuple[FailureMode, ...] = ()


class SourceYield(msgspec.Struct, frozen=True, kw_only=True):
    """What one source of questions found over the counted edits: a search yield, not a prevalence.

    n_asked: questions; given texts to be continued are left out (`Continuations`). per_100:
    distinct failing questions per 100 asked. The curves give the expected number of distinct
    failing questions, and of failure modes, after `asked` questions in random order, with 95 %
    bands; these are empty for fewer than four edits, and where all edits are alike.
    """

    source: str
    n_asked: int
    n_failing: int
    n_modes: int
    per_100: Estimate
    asked: tuple[int, ...] = ()
    failing: tuple[float, ...] = ()
    failing_low: tuple[float, ...] = ()
    failing_high: tuple[float, ...] = ()
    modes: tuple[float, ...] = ()
    modes_low: tuple[float, ...] = ()
    modes_high: tuple[float, ...] = ()


class SourceComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two sources after `at` questions of either, about the same edits: first minus second.

    at: equally many about each edit, namely as many as the source has that asked fewer about it.
    failing, modes: numbers of distinct failing questions and of failure modes.
    """

    first: str
    second: str
    at: int
    failing: Estimate
    modes: Estimate


class Continuations(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to be continued among those that somebody gave: in no rate, mode or comparison.

    Over the counted edits. source: "paraphrase", of the edits file, or "own", a person's questions.
    n_given: all its texts; n_continuations: those that are no questions; n_known: of these, those
    about the subject, naming neither answer, that the control continues with the original answer;
    n_failing: of these, those that the edited model does not continue with the new one.
    """

    source: str
    n_given: int
    n_continuations: int
    n_known: int
    n_failing: int


class ProbeRate(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that an edit should leave alone, or carry over to: locality, portability, two-hop.

    pre and post: share of right answers of the control and of the edited model; `kept`: share of
    the control's right answers that are still right.
    """

    kind: str
    n: int
    pre: Estimate
    post: Estimate
    kept: Estimate
    lost: tuple[tuple[str, str, str], ...] = ()  # question, answer before, answer after


class WeightCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What the rates rest on: an edit's weights add up to 1 on average if they cover the reference.

    mean, standard_error: of these sums over edits; None where nothing was drawn, and of a person's
        own questions.
    """

    mean: float | None
    standard_error: float | None
    ess: float
    ess_failing: float
    n: int
    largest_share: float
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    note: str = ""


class StyleRate(msgspec.Struct, frozen=True, kw_only=True):
    """The two rates in one style of asking."""

    style: str
    edit_failure: Estimate
    residual_belief: Estimate


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one edited model says.

    audit_gap, asked_forced, asked_free: the first is over the counted edits, the others over all
        that have a prompt.
    matrix: of the sound questions of every source about counted edits, counts of verdicts pre
        (rows) by post (columns), in the order of `VERDICTS`.
    weighted_matrix: of those that carry a weight, as shares of the reference distribution.
    continuations: of each source that was given texts to be continued.
    """

    model: ModelInfo
    n_facts: int
    edit_failure: Estimate
    residual_belief: Estimate
    audit_gap: Estimate
    discovery: Estimate
    asked_forced: Estimate
    asked_free: Estimate
    self_contradiction: Estimate
    unseen_failures: Estimate
    degenerate: Estimate
    matrix: tuple[tuple[int, ...], ...]
    weighted_matrix: tuple[tuple[float, ...], ...]
    styles: tuple[StyleRate, ...]
    sources: tuple[SourceYield, ...]
    probes: tuple[ProbeRate, ...]
    weights: WeightCheck
    facts: tuple[FactResult, ...]
    gates: tuple[Gate, ...]
    comparisons: tuple[SourceComparison, ...] = ()
    continuations: tuple[Continuations, ...] = ()
    warnings: tuple[str, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A paired difference between two edited models on the same questions, first minus second."""

    first: str
    second: str
    edit_failure: Estimate
    residual_belief: Estimate


class AuditResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an audit found; the content of `audit.json`."""

    schema_version: int = SCHEMA_VERSION
    contraflow: str
    made: str
    settings: dict[str, str]
    edits: str
    n_edits: int
    control: ModelInfo
    sampler: str
    models: tuple[ModelResult, ...]
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def write_result(path: Path, result: AuditResult) -> None:
    """Write `audit.json`, indented for people. Raises: OSError."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read_result(path: Path) -> AuditResult:
    """Read `audit.json`. Raises: UserError naming the file and the remedy."""
    try:
        content = path.read_bytes()
    except OSError:
        raise UserError(
            f"{path}: no such audit; give a folder that `contraflow audit` has written"
        ) from None
    try:
        return msgspec.json.decode(content, type=AuditResult)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}: is not what this version's `contraflow audit` wrote ({on_one_line(error)}); "
            "run the audit again: its answers are kept"
        ) from None
