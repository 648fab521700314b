"""What is known about one edited model before any rate is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from contraflow.auditing.asking.ask import Answers, behind, inquiries, verdict
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.result import Gate, ModelInfo, ProbeRate, ServedUsage
from contraflow.auditing.outcome.rows import Row
from contraflow.reward.oracle.served.oracle import ServedAnswerer
from contraflow.types import Answerer, AskStyle, Forced


@dataclass(frozen=True)
class AskedPrompt:
    """An edit's own prompt, as its editor scores it.

    verdict: on the free answer of the edited model; "" for an edit without a prompt.
    forced: share of the new answer's tokens that the model predicts; None where nobody can say.
    """

    verdict: str
    answer: str
    forced: float | None


@dataclass(frozen=True)
class Evidence:
    """The rows of one edited model, and the standing and own prompt of every edit.

    degenerate: how many of how many locality answers are degenerate.
    largest_unseen: by fact key, as in `EditDraws`.
    """

    model: ModelInfo
    standings: Sequence[Standing]
    prompts: Sequence[AskedPrompt]
    rows: Sequence[Row]
    probes: tuple[ProbeRate, ...]
    gates: tuple[Gate, ...]
    degenerate: tuple[int, int]
    largest_unseen: dict[str, float | None]


def model_info(model: Answerer, source: str) -> ModelInfo:
    """Name, source and identity of a model, and what it was asked so far if it is served."""
    usage = model.usage if isinstance(model, ServedAnswerer) else None
    return ModelInfo(
        name=model.name,
        source=source,
        identity=model.identity,
        usage=None if usage is None else msgspec.convert(usage.as_dict(), ServedUsage),
    )


def asked_prompts(
    model: Answerer, standings: Sequence[Standing], style: AskStyle, answers: Answers
) -> list[AskedPrompt]:
    """Read each edit's new answer behind its own prompt, and what the model says by itself."""
    scores = _forced(model, standings)
    return [
        _asked_prompt(standing, style, answers, score)
        for standing, score in zip(standings, scores, strict=True)
    ]


def _forced(model: Answerer, standings: Sequence[Standing]) -> list[Forced | None]:
    readable = [i for i, s in enumerate(standings) if s.edit.prompt and s.edit.fact.edited_answer]
    scores: list[Forced | None] = [None] * len(standings)
    if not readable:
        return scores
    edits = [standings[i].edit for i in readable]
    prompts = [behind(edit.prefix, edit.prompt) for edit in edits]
    found = model.forced(prompts, [edit.fact.edited_answer for edit in edits])
    for i, score in zip(readable, found or [], strict=False):
        scores[i] = score
    return scores


def _asked_prompt(
    standing: Standing, style: AskStyle, answers: Answers, score: Forced | None
) -> AskedPrompt:
    edit = standing.edit
    forced = score.n_matches / score.n_tokens if score is not None and score.n_tokens else None
    if not edit.prompt:
        return AskedPrompt("", "", forced)
    (inquiry,) = inquiries([edit.prompt], [style], edit.prefix)
    answer = answers[inquiry].text
    return AskedPrompt(verdict(edit, standing.original_answer, edit.prompt, answer), answer, forced)
