"""The original answer of an edit that comes without one: what the control says.

Many data sets write a placeholder there (zsRE's `<|endoftext|>`). The control answers the edit's
own prompt and its paraphrases; what all these answers share, and no question says, is its answer.
Without agreement there is none, and the edit can only be judged NEW or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from contraflow.text.folding import fold, visible
from contraflow.text.signs import SIGNS
from contraflow.text.words import FUNCTION_WORDS

MAX_WORDS = 6
_BEFORE_A_NAME = frozenset({"at", "by", "from", "in", "on", "since"})
_WORD = re.compile(rf"[\w{SIGNS}]+(?:['’.\-][\w{SIGNS}]+)*")


def shared_answer(questions: Sequence[str], answers: Sequence[str]) -> str:
    """The longest run of words that every answer has and no question has; "" without agreement.

    At least two answers are needed, and the run must hold a word that is no function word. Spelled
    as in the first answer; of a phrase that ends in a name ("began in 2020") the name.
    """
    if len(answers) < 2 or not all(answer.strip() for answer in answers):
        return ""
    asked = {fold(word) for question in questions for word in _words(question)}
    words = _words(answers[0])
    others = [_padded(answer) for answer in answers[1:]]
    for length in range(min(MAX_WORDS, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            if _is_answer(run, asked) and all(_padded(" ".join(run)) in other for other in others):
                return " ".join(_named(run))
    return ""


def _named(run: Sequence[str]) -> Sequence[str]:
    """ "Jane Austen" of "novel by Jane Austen": what is named behind the last such preposition.

    Only where all words before it are common ones: "University of Oxford" is one name.
    """
    for at in range(len(run) - 2, 0, -1):
        head, name = run[:at], run[at + 1 :]
        if run[at] in _BEFORE_A_NAME and not name[0].islower():
            return name if all(word.islower() for word in head) else run
    return run


def _words(text: str) -> list[str]:
    return _WORD.findall(visible(text))


def _padded(text: str) -> str:
    """The folded words of a text between spaces, so that runs are found as substrings."""
    return " " + " ".join(fold(word) for word in _words(text)) + " "


def _is_answer(run: Sequence[str], asked: set[str]) -> bool:
    """No word of a question is in it, and no function word is at its ends."""
    lower = [fold(word) for word in run]
    if any(word in asked for word in lower):
        return False
    return lower[0] not in FUNCTION_WORDS and lower[-1] not in FUNCTION_WORDS
