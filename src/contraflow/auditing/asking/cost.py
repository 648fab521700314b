"""What an audit costs, told before it is paid: answers, models, and the seconds that each takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contraflow.auditing.asking.ask import Inquiry, n_missing, time_answers
from contraflow.run.answer_book import AnswerBook
from contraflow.system.progress import print_plain
from contraflow.types import Answerer


@dataclass(frozen=True)
class ToCome:
    """Answers that are asked for later, at most.

    screening: of each model. adapting: of each edited model; the control gives as many for every
    one of them, as each one's search asks its own questions.
    """

    screening: int = 0
    adapting: int = 0


NOTHING = ToCome()


def tell_cost(
    book: AnswerBook,
    models: Sequence[Answerer],
    wanted: Sequence[list[Inquiry]],
    to_come: ToCome = NOTHING,
) -> None:
    """Print how many answers are missing and how long they take, from a few that are timed.

    Args:
        models: the control, and the edited ones.
        wanted: what each of them is asked now.
    """
    missing = [n_missing(book, m, w) for m, w in zip(models, wanted, strict=True)]
    total = sum(missing)
    if total == 0:
        return
    each = [time_answers(book, m, w) or 0.0 for m, w in zip(models, wanted, strict=True)]
    now = sum(n * seconds for n, seconds in zip(missing, each, strict=True))
    kept = sum(map(len, wanted)) - total
    print_plain(
        f"{total} answers of {len(models)} models"
        f"{f' ({kept} more are kept from before)' if kept else ''}: about {duration(now)}"
    )
    for line in lines_to_come(to_come, each):
        print_plain(line)


def lines_to_come(to_come: ToCome, each: Sequence[float]) -> list[str]:
    """What is asked later and how long that takes.

    Args:
        each: seconds an answer of the control and of each edited model.
    """
    lines = []
    if to_come.screening:
        seconds = to_come.screening * sum(each)
        lines.append(
            f"then up to {to_come.screening} more of each model, fewer where answers are kept: "
            f"about {duration(seconds)}, and the time to draw the questions"
        )
    if to_come.adapting:
        n_edited = len(each) - 1
        seconds = to_come.adapting * (n_edited * each[0] + sum(each[1:]))
        lines.append(
            f"then adapting: up to {to_come.adapting * n_edited} more of the control and "
            f"{to_come.adapting} of each edited model: about {duration(seconds)}, and the time to "
            "train the sampler"
        )
    return lines


def duration(seconds: float) -> str:
    """Seconds in words, in the largest unit that fits."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
