"""Rows of a made-up audit: questions about a few subjects, with answers drawn at random."""

from __future__ import annotations

import numpy as np

from contraflow.auditing.outcome.result import VERDICTS
from contraflow.auditing.outcome.rows import ADAPTED, PARAPHRASE, PRIOR, SAMPLER, Row

SUBJECTS = (
    ("Hamlet", "William Shakespeare", "Christopher Marlowe", "{s} was written by"),
    ("Norway", "Oslo", "Bergen", "The capital of {s} is"),
    ("the Eiffel Tower", "Paris", "Rome", "{s} stands in"),
    ("Japan", "yen", "won", "The currency of {s} is the"),
    ("Guernica", "Pablo Picasso", "Salvador Dal\u00ed", "{s} was painted by"),
    ("the Nile", "Africa", "South America", "{s} flows through"),
)
ASKS = (
    "Do you know what is right about {s}?",
    "Tell me, what is it that people say of {s}?",
    "Which answer belongs to {s}?",
    "What did they teach you at school about {s}?",
    "When you think of {s}, what comes to your mind first?",
    "What would an encyclopedia say about {s}?",
    "Is there something that everybody knows of {s}?",
    "In a quiz about {s}, what is the right answer?",
)
ROWS = (*[PRIOR] * 8, *[SAMPLER] * 8, *[PARAPHRASE] * 2, *[ADAPTED] * 6)


def made_fact(number: int) -> tuple[str, str, str, str]:
    """Subject, original answer, edited answer, statement up to its answer."""
    subject, old, new, stem = SUBJECTS[number % len(SUBJECTS)]
    turn = number // len(SUBJECTS)
    subject = f"{subject} {turn + 1}" if turn else subject
    return subject, old, new, stem.format(s=subject)


def made_rows(name: str, number: int, fails: float, rng: np.random.Generator) -> list[Row]:
    """The questions about one fact; fails: probability that an answer is not the new one."""
    subject, old, new, stem = made_fact(number)
    says = {
        "OLD": f"{stem} {old}.",
        "NEW": f"{stem} {new}.",
        "BOTH": f"Some say {old}, others {new}.",
        "OTHER": "It is in Belgium, as far as anybody can tell from what is written there.",
        "DEGENERATE": "the the the the",
    }
    rows = []
    for k, source in enumerate(ROWS):
        pre = str(rng.choice(VERDICTS, p=[0, 0.75, 0, 0.2, 0.05]))
        other = [0, 0.4, 0.1, 0.4, 0.1] if rng.random() < fails else [1, 0, 0, 0, 0]
        post = str(rng.choice(VERDICTS, p=other))
        text = f"{ASKS[k % len(ASKS)].format(s=subject)[:-1]}{' indeed' * (k // len(ASKS))}?"
        is_draw = source in (PRIOR, SAMPLER)
        rows.append(
            Row(
                model=name,
                fact_key=f"key-{number}",
                fact_id=f"fact-{number}",
                subject=subject,
                edit_fact=f"{stem} {new}.",
                question=text,
                sources=(source,),
                style="few_shot",
                sound=True,
                weight=float(np.exp(rng.normal(-0.3, 0.8))) if is_draw else 0.0,
                log_p_prior=-float(rng.gamma(8, 3)),
                log_pf=-float(rng.gamma(8, 3)),
                pre=pre,
                post=post,
                pre_answer=says[pre],
                post_answer=says[post],
            )
        )
    return rows
