"""The law of docs/performance.md: seconds and memory of a step from its tokens, its decoding passes
and the model's parameters.

Each phase is a constant plus terms in proportion to its work and the model's parameters: a decoding
pass reads all weights, a token goes through all of them. The counts are those of a step whose
questions differ from the first token on, which is the most that a step costs. The coefficients are
a non-negative least squares of relative errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.cost.points import Point, Sizes

ASK_TOKENS = 4  # around a question in the oracle's prompt, after what all prompts begin with
UNIT = 100e6  # parameters
Law = Mapping[str, Mapping[str, float]]


def terms(sizes: Sizes) -> dict[str, dict[str, float]]:
    """The work of each phase, and of memory, by the name of its coefficient."""
    size = sizes.params / UNIT
    states = sizes.questions * sizes.length
    answer_tokens = sizes.questions * (ASK_TOKENS + sizes.length + sizes.answer)
    return {
        "sample": {
            "constant": 1.0,
            "a pass": size * sizes.length,
            "a token": size * sizes.written,
            "a state": size**0.5 * states,
        },
        "answer": {
            "constant": 1.0,
            "a pass": size * sizes.answer,
            "a token": size * answer_tokens,
        },
        "judge": {"constant": 1.0, "a question": float(sizes.questions)},
        "prior": {"constant": 1.0, "a token": size * sizes.read},
        "learn": {
            "constant": 1.0,
            "the model": size,
            "a token": size * sizes.read,
            "a state": size**0.5 * states,
        },
        "mib": {"constant": 1.0, "the model": size, "a token": size**0.5 * sizes.read},
    }


def fit(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """The coefficients of every phase and of memory."""
    law = {}
    for phase in terms(points[0].sizes):
        measured = np.array([p.mib if phase == "mib" else p.seconds[phase] for p in points])
        work = [terms(p.sizes)[phase] for p in points]
        rows = np.array([list(w.values()) for w in work]) / measured[:, None]
        found = nonnegative(rows, np.ones(len(points)))
        law[phase] = dict(zip(work[0], found.tolist(), strict=True))
    return law


def nonnegative(a: np.ndarray, y: np.ndarray, sweeps: int = 20_000) -> np.ndarray:
    """The x >= 0 with the least ‖ax − y‖, by coordinate descent."""
    scale: np.ndarray = np.linalg.norm(a, axis=0)
    gram = (a / scale).T @ (a / scale)
    target = (a / scale).T @ y
    x = np.zeros(a.shape[1])
    for _ in range(sweeps):
        before = x.copy()
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + target[i] - gram[i] @ x)
        if np.abs(x - before).max() < 1e-14:
            break
    found: np.ndarray = x / scale
    return found


def predict(law: Law, sizes: Sizes) -> dict[str, float]:
    """Seconds of each phase and of the step, and the peak memory in MiB."""
    found = {
        phase: sum(law[phase][name] * amount for name, amount in work.items())
        for phase, work in terms(sizes).items()
    }
    return {**found, "step": sum(s for phase, s in found.items() if phase != "mib")}


def error(law: Law, point: Point, of: str = "step") -> float:
    """Relative error of the prediction of a quantity: predicted over measured, less 1."""
    measured = {"step": point.step, "mib": point.mib, **point.seconds}[of]
    return predict(law, point.sizes)[of] / measured - 1
