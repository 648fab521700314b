"""Checks of question and answer texts without a model, for texts that could fool a judge.

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
from collections.abc import Iterable, Sequence

from contraflow.text.match import gives_away, mentions, names_another, numbered_words, words
from contraflow.text.negation import asserted
from contraflow.text.numbers import number_value, roman_value
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
    word_set,
)

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 40
MAX_ANSWER_WORDS = 60
# A longer answer is on topic only if it shares a word with its question or the subject.
MAX_DIRECT_WORDS = 8

_LABEL = re.compile(
    r"\b(?:facts?|questions?|answers?|subject|statement|edit|note|hint|example|context|q|a)\s*:",
    re.IGNORECASE,
)
_JUNK = re.compile(r"[{}\[\]<>|\\~^*_=@`!;]|https?:|www\.|\.\.|--|,,|\?.*\?")
# Matches "a prince. Who", but neither "Dr. Who" nor "St. Paul".
_SENTENCE_BREAK = re.compile(r"\b[a-z]\w{2,}[.:]\s")
_OPENED_QUOTE = re.compile(r"(?:^|[\s(])'(?=[^\W\d_])")
_CLOSED_QUOTE = re.compile(r"(?<=[\w.,!?])'(?=[\s?.,)]|$)")
_CONTRACTED = re.compile(r"\b(who|what|which|where|when|why|how)['\u2019]s\b", re.IGNORECASE)
# Words that need another word after them.
_DANGLING = word_set("the a an and or my your his her its their our every very than")
_FINAL_ABBREVIATION = re.compile(
    r"\b(?:\w\.)+$|\b(?:[jsd]r|inc|ltd|co|corp|bros|etc)\.$", re.IGNORECASE
)
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
    """Whether a text is one complete question.

    Each mention of the given subject counts as one plain word. "Who sang with Duran Duran?" thus is
    not a loop and "Who founded Yahoo!?" has no misplaced mark, but a subject named three times is
    rejected.
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
    """Whether the question names the subject.

    It must contain all of one or two content words of the subject, and a majority of three or more.
    Whole words are compared, without accents, case and plural endings ("a spider", "spiders").
    Every number of the subject must appear, as "II", "2", "two" or "second": World War I is not
    World War II. A subject that stands only in another name ("New Mexico") is not named.
    """
    subject_words = numbered_words(subject)
    asked = numbered_words(question)
    numerals = {word for i, word in enumerate(subject_words) if _is_numeral(subject_words, i)}
    names = {word.casefold() for word in subject_words if word not in numerals}
    stems = {stem(word) for word in names - FUNCTION_WORDS or names}
    n_words = len(stems) + len(numerals)
    n_required = n_words if n_words <= 2 else n_words // 2 + 1
    n_named = len(numerals) + len(stems & {stem(word) for word in asked})
    return (
        n_words > 0
        and n_named >= n_required
        and all(_names_number(asked, numeral, stems, numerals) for numeral in numerals)
        and not names_another(question, subject)
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


def is_degenerate(answer: str, question: str = "") -> bool:
    """Whether an answer is empty, evasive, repetitive, endless, gibberish or only an echo."""
    answer = answer.strip()
    tokens = words(answer)
    if not tokens or _NO_ANSWER.search(answer) or _LABEL.search(answer) or not answer.isprintable():
        return True
    n_gibberish = sum(not is_word(word) for word in tokens)
    endless = len(tokens) > MAX_ANSWER_WORDS or (len(tokens) > 30 and answer[-1] not in ".!?\"')")
    n_symbols = sum(not (char.isalnum() or char.isspace()) for char in answer)
    return (
        endless
        or 3 * n_gibberish > len(tokens)
        or 2 * n_symbols > len(answer)
        or _answer_loops([word.casefold() for word in tokens])
        or (bool(question) and _echoes(tokens, question))
    )


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


def strict_success(
    question: str,
    answer: str,
    subject: str,
    original_answer: str,
    edited_answer: str,
    aliases: Sequence[str] = (),
) -> bool:
    """Whether a sound question that names neither answer got the original answer only.

    The question must be well-formed and on the subject. The answer must assert the original answer
    ("Thor was not born to Odin." does not) and must not name the edited one, even to deny it. It
    uses no language model. False if the original answer is unknown.
    """
    return (
        mentions(answer, original_answer, aliases)
        and mentions(asserted(without_phrase(answer, subject)), original_answer, aliases)
        and not mentions(answer, edited_answer)
        and not gives_away(question, original_answer, aliases)
        and not gives_away(question, edited_answer)
        and is_well_formed(question, subject)
        and is_on_subject(question, subject)
    )


def _is_numeral(name: Sequence[str], position: int) -> bool:
    """Whether a word of a name is a number, or a Roman numeral that is not its first word."""
    word = name[position]
    if any(char.isdigit() for char in word):
        return True
    is_long_enough = len(word) > 1 or position > 0
    return is_long_enough and roman_value(word) is not None


def _names_number(asked: Sequence[str], numeral: str, stems: set[str], numerals: set[str]) -> bool:
    """Whether a question contains a number of its subject.

    A number below a hundred must stand beside another word of the subject: "two" in "Which two
    armies fought in World War I?" is not that of World War II.
    """
    value = _whole_number(numeral)
    may_stand_alone = value is None or value >= 100 or not (stems or numerals - {numeral})
    for position, word in enumerate(asked):
        is_same = word.casefold() == numeral.casefold()
        if not is_same and (value is None or _whole_number(word) != value):
            continue
        before = _nearest(reversed(asked[:position]), stems)
        after = _nearest(asked[position + 1 :], stems)
        others = stems | {other.casefold() for other in numerals}
        if may_stand_alone or others & {stem(before), stem(after)}:
            return True
    return False


def _nearest(asked: Iterable[str], stems: set[str]) -> str:
    """Return the first word that is of the subject or is no function word."""
    for word in asked:
        if stem(word) in stems or word.casefold() not in FUNCTION_WORDS:
            return word
    return ""


def _whole_number(word: str) -> int | None:
    value = number_value(word)
    return roman_value(word.upper()) if value is None and word.isupper() else value


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
