"""Checks of an answer without a model: does it say something, and does it fit its question?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from contraflow.text.folding import APOSTROPHES, visible
from contraflow.text.tokens import words
from contraflow.text.words import (
    AUXILIARIES,
    FUNCTION_WORDS,
    LABEL,
    POINTING_WORDS,
    content_stems,
    has_loop,
    is_word,
    stem,
)

MAX_ANSWER_WORDS = 60
# A longer answer is on topic only if it shares a word with its question or the subject.
MAX_DIRECT_WORDS = 8

_NO_ANSWER = re.compile(
    r"\bi (?:do not|don't|dont|cannot|can't|can not|am not|'m not)\b|\bi'm (?:not|sorry|unable)\b"
    r"|\bnot (?:sure|known|specified|available|applicable|mentioned)\b"
    r"|^unknown\b|^n/a\b|\bno idea\b"
    r"|^none\b|^(?:there|this) is no\b|\bas an ai\b|\bno (?:answer|information)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty"
    r"|hundred|thousand|million|billion|dozen|none|many|several|once|twice|half)\b",
    re.IGNORECASE,
)


def is_degenerate(answer: str, question: str = "") -> bool:
    """Whether an answer is empty, evasive, repetitive, endless, gibberish or only an echo."""
    answer = visible(answer).strip()
    return (
        is_broken(answer)
        or _NO_ANSWER.search(answer.translate(APOSTROPHES)) is not None
        or _is_endless(answer)
        or (bool(question) and _echoes(words(answer), question))
    )


def is_broken(answer: str) -> bool:
    """Whether an answer is no sentence at all: empty, a loop, gibberish, or a prompt fragment.

    Invisible characters do not count, and any space is a space (`folding.visible`).
    """
    answer = visible(answer).strip()
    tokens = words(answer)
    if not tokens or LABEL.search(answer) or not answer.isprintable():
        return True
    n_gibberish = sum(not is_word(word) for word in tokens)
    n_symbols = sum(_is_symbol(char) for char in answer)
    return (
        3 * n_gibberish > len(tokens)
        or 2 * n_symbols > len(answer)
        or _answer_loops([word.casefold() for word in tokens])
    )


def _is_symbol(char: str) -> bool:
    """Whether a character is no letter, digit, space, or mark of a letter, such as a vowel sign."""
    return not (char.isalnum() or char.isspace() or unicodedata.category(char).startswith("M"))


def is_on_topic(question: str, answer: str, subject: str) -> bool:
    """Whether an answer fits its question: it shares a content word, or is a short direct answer.

    Not direct: a sentence about something else ("The weather is nice."), "Yes." after "What …?",
    and an answer without a number after "How many …?".
    """
    question_words = [word.casefold() for word in words(question)]
    answer_words = [word.casefold() for word in words(answer)]
    if not answer_words:
        return False
    asks_number = question_words[:2] in (["how", "many"], ["how", "much"], ["how", "old"])
    if asks_number and not _NUMBER.search(answer):
        return False
    topic = content_stems(question) | content_stems(subject)
    if topic & {stem(word) for word in answer_words}:
        return True
    return _answers_directly(question_words, answer_words)


def _is_endless(answer: str) -> bool:
    n_words = len(words(answer))
    is_cut_off = n_words > 30 and answer[-1] not in ".!?\"')\u201d\u2019"
    return n_words > MAX_ANSWER_WORDS or is_cut_off


def _answer_loops(tokens: list[str]) -> bool:
    """Whether a long run occurs twice or a short one three times.

    "Duran Duran" is an answer, "Duran Duran Duran" is not.
    """
    if has_loop(tokens, longest=8) and len(set(tokens)) <= len(tokens) // 3:
        return True
    trigrams = Counter(tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2))
    if any(count > 2 for count in trigrams.values()):
        return True
    return has_loop(tokens, longest=8, shortest=3)


def _echoes(tokens: Sequence[str], question: str) -> bool:
    """Whether an answer adds nothing to the question but function words.

    An answer of one word may be a function word ("He", "May", "outside"), but not a pointing word.
    """
    answer_words = {word.casefold() for word in tokens}
    if answer_words & {"yes", "no"}:
        return False
    empty_words = FUNCTION_WORDS if len(answer_words) > 1 else POINTING_WORDS
    return answer_words <= empty_words | {word.casefold() for word in words(question)}


def _answers_directly(question_words: list[str], answer_words: list[str]) -> bool:
    """Whether a short answer without a shared content word is a phrase or refers to the subject."""
    first = answer_words[0]
    last = answer_words[-1]
    if len(answer_words) > MAX_DIRECT_WORDS:
        return False
    if len(answer_words) > 1 and first in ("i", "we", "you", "my"):
        return False
    if first in ("yes", "no"):
        return bool(question_words) and question_words[0] in AUXILIARIES
    if {"it", "he", "she", "they", "this", "that"} & {first, last}:
        return True
    # A phrase has no auxiliary; "may", "will" and "do" are also nouns and names.
    return not (AUXILIARIES - {"may", "will", "do"}).intersection(answer_words)
