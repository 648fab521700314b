"""The results file of EasyEdit's editors: each edit with the scores before (`pre`) and after it.

A row has the edit's request, with its tests, and the teacher-forced scores. Fields differ between
editors and versions, so unknown ones are not errors here. Generated texts and their fluency vary
from run to run; all other scores that are equal before and after say that the edit was never
applied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contraflow.facts.formats._probes import TestPrompts
from contraflow.facts.formats._published import Published
from contraflow.facts.formats.knowedit import Spellings, edit_row

_VARYING = ("fluency", "time")


class Request(msgspec.Struct, frozen=True):
    """The edit, as the editor was given it."""

    subject: str
    prompt: str
    target_new: str
    ground_truth: Spellings = None
    rephrase_prompt: Any = None
    locality: Any = None
    portability: Any = None


class Row(msgspec.Struct, frozen=True):
    """A row of results; fields that are not listed are not read."""

    requested_rewrite: Request
    pre: Any = None
    post: Any = None


def _edits(row: Row) -> Iterator[Mapping[str, object]]:
    request = row.requested_rewrite
    tests = TestPrompts()
    tests.add_paraphrases("rephrase_prompt", request.rephrase_prompt)
    tests.add_tests("locality", request.locality)
    tests.add_tests("portability", request.portability)
    fields = edit_row(
        request.subject, request.prompt, request.target_new, request.ground_truth, tests
    )
    yield {**fields, "editor_scores": _scores(row.pre, row.post)}


def _scores(pre: object, post: object) -> dict[str, object] | None:
    if not isinstance(pre, dict) or not isinstance(post, dict):
        pre = pre if isinstance(pre, dict) else {}
        post = post if isinstance(post, dict) else {}
    accuracies = [_mean(scores.get("rewrite_acc")) for scores in (pre, post)]
    if accuracies == [None, None]:
        return None
    return {"pre": accuracies[0], "post": accuracies[1], "unchanged": _are_equal(pre, post)}


def _are_equal(pre: dict[Any, Any], post: dict[Any, Any]) -> bool:
    names = (pre.keys() | post.keys()) - set(_VARYING)
    try:
        return all(name in pre and name in post and pre[name] == post[name] for name in names)
    except RecursionError:  # lists nested more deeply than Python compares
        return False


def _mean(value: object) -> float | None:
    """Return the mean of a score that is a number or a list of them; None if it is neither."""
    values = value if isinstance(value, list) else [value]
    numbers = [x for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    if not values or len(numbers) < len(values):
        return None
    try:
        mean = math.fsum(numbers) / len(numbers)
    except (OverflowError, ValueError):  # a number is too large, or infinite
        return None
    return mean if math.isfinite(mean) else None


read = Published("EasyEdit results", Row, _edits)
