"""Checks of a question without a model, for texts that could fool a judge.

`question_ok` is a factor of the training reward, so the policy learns to exploit its gaps. It
therefore rejects loops, second question marks, prompt fragments, sentences cut off at the maximum
length, repeated subjects, and answers leaked by a surname. It must not prefer one form of question:
any question word, auxiliary or preposition may open it, and the question word may stand near the
end ("The Eiffel Tower stands in which city?"). "Name the capital of France?" is an imperative and
is rejected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from contraflow.text.folding import visible
from contraflow.text.match import gives_away
from contraflow.text.signs import SIGNS
from contraflow.text.subjects import is_on_subject, names_namesake, short_names
from contraflow.text.tokens import words
from contraflow.text.words import (
    AUXILIARIES,
    FUNCTION_WORDS,
    LABEL,
    PREPOSITIONS,
    SHARED_TYPE_WORDS,
    WH_WORDS,
    has_loop,
    has_spelling,
    is_word,
    without_phrase,
    word_set,
)

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 40
_JUNK = re.compile(r"[{}\[\]<>|\\~^*_=@`!;]|https?:|www\.|\.\.|--|,,|\?.*\?")
# Matches "a prince. Who", but neither "Dr. Who" nor "St. Paul".
_SENTENCE_BREAK = re.compile(r"\b[a-z]\w{2,}[.:]\s")
_OPENED_QUOTE = re.compile(r"(?:^|[\s(])'(?=[^\W\d_])")
_CLOSED_QUOTE = re.compile(rf"(?<=[\w{SIGNS}.,!?])'(?=[\s?.,)]|$)")
_CONTRACTED = re.compile(r"\b(who|what|which|where|when|why|how)['\u2019]s\b", re.IGNORECASE)
# Words that need another word after them.
_DANGLING = word_set("the a an and or my your his her its their our every very than")
_FINAL_ABBREVIATION = re.compile(
    r"\b(?:\w\.)+$|\b(?:[jsd]r|inc|ltd|co|corp|bros|etc)\.$", re.IGNORECASE
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


def question_is_sound(
    question: str,
    subject: str,
    original_answer: str,
    edited_answer: str,
    aliases: Sequence[str] = (),
    subject_aliases: Sequence[str] = (),
) -> bool:
    """Whether a question may be asked of an edited model: `question_ok` under some name.

    The subject may go by one of its aliases or by a shorter name ("Banff" for "Banff National
    Park"), which must have the capital letters of the subject and must not stand behind another
    first name only. The reward keeps to the full name: a sampler could learn to ask about another
    thing of the shorter one. An audit counts a question only if the unedited model answers it with
    the original answer, which rules that out.
    """
    answers = (original_answer, edited_answer, tuple(aliases))
    if any(question_ok(question, name, *answers) for name in (subject, *subject_aliases)):
        return True
    for name in short_names(subject):
        is_named = name in " ".join(words(question))
        is_an_answer = any(gives_away(name, a) for a in (original_answer, edited_answer, *aliases))
        is_meant = is_named and not is_an_answer and not names_namesake(question, name, subject)
        if is_meant and question_ok(question, name, *answers):
            return True
    return False


def is_well_formed(question: str, subject: str = "") -> bool:
    """Whether a text is one complete question.

    Each mention of the given subject counts as one plain word. "Who sang with Duran Duran?" thus is
    not a loop and "Who founded Yahoo!?" has no misplaced mark, but a subject named three times is
    rejected. Invisible characters do not count, and any space is a space (`folding.visible`).
    """
    question = visible(question).strip()
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


def leaks_answer(
    question: str,
    original_answer: str,
    edited_answer: str,
    aliases: tuple[str, ...] = (),
    subject: str = "",
) -> bool:
    """Whether the question names the original or the edited answer, in full or by a proper name.

    Mentions of the given subject are not leaks ("Mexico City" is the capital of "Mexico").
    """
    remainder = without_phrase(question, subject)
    answers = (original_answer, edited_answer, *aliases)
    if any(gives_away(remainder, answer) for answer in answers if answer):
        return True
    # Case-folded, because the policy could learn to write names in lower case.
    remaining_words = {word.casefold() for word in words(remainder)}
    return any(remaining_words & _proper_parts(answer, subject) for answer in answers)


def _has_sound_characters(question: str, plain: str) -> bool:
    return (
        question.isprintable()  # no line break and no tab either
        and plain.endswith("?")
        and not (_JUNK.search(plain) or LABEL.search(plain) or _SENTENCE_BREAK.search(plain))
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
    """Whether an opener stands at the start or after a comma, or a question word near the end."""
    tokens = [word.casefold() for word in words(plain)]
    if not tokens:
        return False
    if _is_opener(tokens):
        return True
    first_letter = next((char for char in question if char.isalnum()), "")
    if not (first_letter.isupper() or first_letter.isdigit()):
        return False
    for clause in plain.split(",")[1:]:
        if _is_opener([word.casefold() for word in words(clause)]):
            return True
    return _asks_at_the_end(tokens)


def _is_opener(tokens: list[str]) -> bool:
    """Whether a clause opens a question: "Who wrote", "In which", "For whom", "Did".

    "What the capital" lacks its verb and does not.
    """
    has_preposition = bool(tokens) and tokens[0] in PREPOSITIONS
    lead = tokens[1:] if has_preposition else tokens
    if not lead:
        return False
    lacks_verb = lead[1:2] in (["the"], ["a"], ["an"], ["and"], ["or"])
    if lead[0] in WH_WORDS - {"when"} and lacks_verb:
        return False
    return lead[0] in WH_WORDS or (not has_preposition and lead[0] in AUXILIARIES)


def _asks_at_the_end(tokens: list[str]) -> bool:
    """Whether one of the last four words is a question word that no auxiliary follows.

    "in which city?" ends so, "which is nice?" does not.
    """
    last_words = tokens[-4:]
    return any(
        token in WH_WORDS and not AUXILIARIES.intersection(last_words[position:])
        for position, token in enumerate(last_words)
    )


def _ends_like_a_question(plain: str) -> bool:
    """Whether there is one question mark, and the sentence is not cut off before it."""
    body = plain[:-1].rstrip(" \"'\u201d\u2019)")
    last = re.split(r"\s", body)[-1].casefold()
    is_cut_off = last in _DANGLING or last.endswith(("'s", "\u2019s", ",", "-", ":", ".", "("))
    is_abbreviated = _FINAL_ABBREVIATION.search(body) is not None
    return plain.count("?") == 1 and (not is_cut_off or is_abbreviated)


def _repeats(tokens: list[str]) -> bool:
    """Whether a question repeats words more often than a natural one does."""
    counts = Counter(token for token in tokens if token not in FUNCTION_WORDS)
    has_few_types = len(tokens) >= 10 and len(set(tokens)) < 0.55 * len(tokens)
    # "Was Hamlet was"
    repeats_opener = tokens[-1] in tokens[:-1] and tokens[-1] in WH_WORDS | AUXILIARIES
    return (
        has_loop(tokens)
        or has_spelling(tokens)
        or repeats_opener
        or has_few_types
        or any(count > 2 for count in counts.values())
    )


def _proper_parts(answer: str, subject: str) -> set[str]:
    """Return the distinctive capitalized words of an answer ("Shakespeare") not in the subject.

    Case-folded; empty for an answer of one word, which `mentions` finds as a whole.
    """
    parts = words(answer)
    if len(parts) < 2:
        return set()
    capitalized = {part.casefold() for part in parts if part[0].isupper() and len(part) > 3}
    subject_words = {word.casefold() for word in words(subject)}
    return capitalized - SHARED_TYPE_WORDS - FUNCTION_WORDS - subject_words
