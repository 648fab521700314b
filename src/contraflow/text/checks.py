"""Checks of question and answer texts that need no model: a judge can be fooled where these cannot.

`question_ok` is a factor of the training reward, so a policy will look for its holes. Hence it refuses
whatever may pay: loops, second question marks, prompt fragments, sentences cut off at the maximum length,
subjects named over and over, an answer smuggled in by its surname. What it must not do is prefer one way of
asking: any question word, auxiliary or preposition may open a question, and the question word may stand near
the end ("The Eiffel Tower stands in which city?"). "Name the capital of France?" is an order, no question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from contraflow.text.match import mentions, words
from contraflow.text.words import (
    AUXILIARIES,
    FUNCTION_WORDS,
    POINTING_WORDS,
    PREPOSITIONS,
    SHARED_TYPE_WORDS,
    WH_WORDS,
    content_stems,
    has_loop,
    has_spelling,
    is_word,
    stem,
    without_phrase,
)

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 40
MAX_ANSWER_WORDS = 60
MAX_DIRECT_WORDS = (
    8  # a longer answer must share a word with its question or subject to be on topic
)

_LABEL = re.compile(
    r"\b(?:facts?|questions?|answers?|subject|statement|edit|note|hint|example|context|q|a)\s*:",
    re.IGNORECASE,
)
_JUNK = re.compile(r"[{}\[\]<>|\\~^*_=@`!;]|https?:|www\.|\.\.|--|,,|\?.*\?")
_SENTENCE_BREAK = re.compile(
    r"\b[a-z]\w{2,}[.:]\s"
)  # "a prince. Who"; "Dr. Who" and "St. Paul" are none
_OPENED_QUOTE = re.compile(r"(?:^|[\s(])'(?=[^\W\d_])")
_CLOSED_QUOTE = re.compile(r"(?<=[\w.,!?])'(?=[\s?.,)]|$)")
_CONTRACTED = re.compile(r"\b(who|what|which|where|when|why|how)['\u2019]s\b", re.IGNORECASE)
_DANGLING = frozenset(
    {
        "the",
        "a",
        "an",
        "and",
        "or",
        "my",
        "your",
        "his",
        "her",
        "its",
        "their",
        "our",
        "every",
        "very",
        "than",
    }
)
_NO_ANSWER = re.compile(
    r"\bi (?:do not|don't|dont|cannot|can't|can not|am not|'m not)\b|\bi'm (?:not|sorry|unable)\b"
    r"|\bnot (?:sure|known|specified|available|applicable|mentioned)\b|^unknown\b|^n/a\b|\bno idea\b"
    r"|^none\b|^(?:there|this) is no\b|\bas an ai\b|\bno (?:answer|information)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand"
    r"|million|billion|dozen|none|many|several|once|twice|half)\b",
    re.IGNORECASE,
)


def question_ok(
    question: str,
    subject: str,
    original_answer: str,
    edited_answer: str,
    aliases: tuple[str, ...] = (),
) -> bool:
    """Whether a question is well-formed, asks about the subject, and names neither answer."""
    return (
        is_well_formed(question, subject)
        and is_on_subject(question, subject)
        and not leaks_answer(question, original_answer, edited_answer, aliases, subject)
    )


def is_well_formed(question: str, subject: str = "") -> bool:
    """Whether a text reads as one complete question.

    Where the subject is given, its mentions count as one plain word: "Who sang with Duran Duran?"
    is no loop and "Who founded Yahoo!?" has no stray mark, but naming the subject three times is a
    loop all the same.
    """
    question = question.strip()
    plain = _CONTRACTED.sub(r"\1 is", without_phrase(question, subject))
    tokens = [word.casefold() for word in words(plain)]
    return (
        _has_sound_characters(question, plain)
        and MIN_QUESTION_WORDS <= len(words(question)) <= MAX_QUESTION_WORDS
        and _opens_like_a_question(question, plain)
        and _ends_like_a_question(plain)
        and not _repeats(tokens)
        and all(is_word(word) for word in words(plain))
    )


def is_on_subject(question: str, subject: str) -> bool:
    """Whether the question names the subject: both of two content words, a majority of three and
    more.

    Whole words, without regard to accents, case and plural endings ("a spider", "spiders").
    """
    wanted = content_stems(subject)
    needed = len(wanted) if len(wanted) <= 2 else len(wanted) // 2 + 1
    named = wanted & {stem(word) for word in words(question)}
    return bool(wanted) and len(named) >= needed


def leaks_answer(
    question: str,
    original_answer: str,
    edited_answer: str,
    aliases: tuple[str, ...] = (),
    subject: str = "",
) -> bool:
    """Whether the question names the true or the edited answer, in full or by a proper name in it.

    Where the subject is given, naming the subject is no leak ("Mexico City" as the capital of
    "Mexico").
    """
    hidden = without_phrase(question, subject)
    answers = (original_answer, edited_answer, *aliases)
    if any(mentions(hidden, answer) for answer in answers if answer):
        return True
    shown = {
        word.casefold() for word in words(hidden)
    }  # in lower case, too: a policy may find that out
    return any(shown & _proper_parts(answer, subject) for answer in answers)


def is_degenerate(answer: str, question: str = "") -> bool:
    """Whether an answer says nothing: it is empty, evasive, looping, endless, gibberish or an echo."""
    answer = answer.strip()
    tokens = words(answer)
    if not tokens or _NO_ANSWER.search(answer) or _LABEL.search(answer) or not answer.isprintable():
        return True
    odd = sum(not is_word(word) for word in tokens)
    endless = len(tokens) > MAX_ANSWER_WORDS or (len(tokens) > 30 and answer[-1] not in ".!?\"')")
    symbols = sum(not (char.isalnum() or char.isspace()) for char in answer)
    return (
        endless
        or 3 * odd > len(tokens)
        or 2 * symbols > len(answer)
        or _answer_loops([word.casefold() for word in tokens])
        or (bool(question) and _echoes(tokens, question))
    )


def is_on_topic(question: str, answer: str, subject: str) -> bool:
    """Whether an answer belongs to its question: it shares a content word, or is a short direct
    answer.

    A whole sentence on something else ("The weather is nice.") is short but not direct; nor is
    "Yes." to a question that begins with what, nor an answer without any number to one that begins
    with how many.
    """
    asked = [word.casefold() for word in words(question)]
    said = [word.casefold() for word in words(answer)]
    if not said:
        return False
    if asked[:2] in (["how", "many"], ["how", "much"], ["how", "old"]) and not _NUMBER.search(
        answer
    ):
        return False
    if {stem(word) for word in said} & (content_stems(question) | content_stems(subject)):
        return True
    return _answers_directly(asked, said)


def strict_success(
    question: str,
    answer: str,
    original_answer: str,
    edited_answer: str,
    aliases: Sequence[str] = (),
) -> bool:
    """Whether the answer names the original answer and not the edited one, and the question names
    neither.

    No language model takes part. False where the original answer is not known.
    """
    return (
        mentions(answer, original_answer, aliases)
        and not mentions(answer, edited_answer)
        and not mentions(question, original_answer, aliases)
        and not mentions(question, edited_answer)
    )


def _has_sound_characters(question: str, plain: str) -> bool:
    return (
        question.isprintable()  # no line break and no tab either
        and plain.endswith("?")
        and not (_JUNK.search(plain) or _LABEL.search(plain) or _SENTENCE_BREAK.search(plain))
        and _quotes_balance(plain)
    )


def _quotes_balance(text: str) -> bool:
    straight = text.replace("\u2018", "'").replace("\u2019", "'")
    return (
        text.count('"') % 2 == 0
        and text.count("\u201c") == text.count("\u201d")
        and text.count("(") == text.count(")")
        and len(_OPENED_QUOTE.findall(straight)) <= len(_CLOSED_QUOTE.findall(straight))
    )


def _opens_like_a_question(question: str, plain: str) -> bool:
    """An opener at the start or after a comma, or a question word near the end."""
    tokens = [word.casefold() for word in words(plain)]
    if not tokens:
        return False
    if _is_opener(tokens):
        return True
    first_letter = next((char for char in question if char.isalnum()), "")
    if not (first_letter.isupper() or first_letter.isdigit()):
        return False
    clauses = [[word.casefold() for word in words(clause)] for clause in plain.split(",")[1:]]
    return any(_is_opener(clause) for clause in clauses) or _asks_at_the_end(tokens)


def _is_opener(tokens: list[str]) -> bool:
    """ "Who wrote", "In which", "For whom", "Did"; but "What the capital" lacks its verb."""
    lead = tokens[1:] if tokens and tokens[0] in PREPOSITIONS else tokens
    if not lead or (
        lead[0] in WH_WORDS - {"when"} and lead[1:2] in (["the"], ["a"], ["an"], ["and"], ["or"])
    ):
        return False
    return lead[0] in WH_WORDS or (lead is tokens and lead[0] in AUXILIARIES)


def _asks_at_the_end(tokens: list[str]) -> bool:
    """Whether a question word without a verb after it is near: "in which city?", not "which is
    nice?".
    """
    return any(
        token in WH_WORDS and not AUXILIARIES.intersection(tokens[-4:][place:])
        for place, token in enumerate(tokens[-4:])
    )


def _ends_like_a_question(plain: str) -> bool:
    """Exactly one question mark, and no word before it that needs another (cut off at the maximum
    length).
    """
    body = plain[:-1].rstrip(" \"'\u201d\u2019)")
    last = re.split(r"\s", body)[-1].casefold()
    cut_off = last in _DANGLING or last.endswith(("'s", "\u2019s", ",", "-", ":", ".", "("))
    abbreviation = re.search(
        r"\b(?:\w\.)+$|\b(?:[jsd]r|inc|ltd|co|corp|bros|etc)\.$", body, re.IGNORECASE
    )
    return plain.count("?") == 1 and (not cut_off or abbreviation is not None)


def _repeats(tokens: list[str]) -> bool:
    counts = Counter(token for token in tokens if token not in FUNCTION_WORDS)
    crowded = len(tokens) >= 10 and len(set(tokens)) < 0.55 * len(tokens)
    tagged = tokens[-1] in tokens[:-1] and tokens[-1] in WH_WORDS | AUXILIARIES  # "Was Hamlet was"
    return (
        has_loop(tokens)
        or has_spelling(tokens)
        or tagged
        or crowded
        or any(count > 2 for count in counts.values())
    )


def _proper_parts(answer: str, subject: str) -> set[str]:
    """Distinctive capitalized words of an answer ("Shakespeare") that are not in the subject as
    well.
    """
    parts = words(answer)
    if len(parts) < 2:
        return set()
    capitalized = {part.casefold() for part in parts if part[0].isupper() and len(part) > 3}
    return (
        capitalized
        - SHARED_TYPE_WORDS
        - FUNCTION_WORDS
        - {word.casefold() for word in words(subject)}
    )


def _answer_loops(tokens: list[str]) -> bool:
    """A long run twice or a short one three times: "Duran Duran" is an answer, three Durans are
    not.
    """
    if has_loop(tokens, longest=8) and len(set(tokens)) <= len(tokens) // 3:
        return True
    long_runs = Counter(tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2))
    return any(count > 2 for count in long_runs.values()) or any(
        tokens[i : i + size] == tokens[i + size : i + 2 * size]
        for size in range(3, 9)
        for i in range(len(tokens) - 2 * size + 1)
    )


def _echoes(tokens: Sequence[str], question: str) -> bool:
    """Whether nothing in the answer is new; one word alone may be any new one ("He", "May",
    "outside").
    """
    said = {word.casefold() for word in tokens}
    if said & {"yes", "no"}:
        return False
    empty = FUNCTION_WORDS if len(said) > 1 else POINTING_WORDS
    return said <= empty | {word.casefold() for word in words(question)}


def _answers_directly(asked: list[str], said: list[str]) -> bool:
    if len(said) > MAX_DIRECT_WORDS or (len(said) > 1 and said[0] in ("i", "we", "you", "my")):
        return False
    if said[0] in ("yes", "no"):
        return bool(asked) and asked[0] in AUXILIARIES
    anaphoric = bool({"it", "he", "she", "they", "this", "that"}.intersection(said[:1] + said[-1:]))
    return anaphoric or not (AUXILIARIES - {"may", "will", "do"}).intersection(said)
