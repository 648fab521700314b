"""Test whether a text names an answer; used by data checks, reward and evaluation.

Whole words must match, but their spelling may differ. "Parisian" does not name "Paris". "the UNITED
STATES' flag" names "United States", "seven" names "7", "mammals" names "mammal", and "Jose Marti"
names "José Martí".

What changes an answer must match too: the sign of a number or a grade, the currency, the ending of
"19th" and "1990s". A longer name is another name: "New Mexico" and "Mexico City" do not name
"Mexico". docs/metrics.md summarizes the rules, tests/text/test_strict_table.py lists examples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from contraflow.text.numbers import number_value, roman_value
from contraflow.text.tokens import Token, tokens_of, without_article

# Names that the direction turns into another place: "North London" still lies in London.
_OTHER_PLACES = {
    "north": "america korea carolina dakota macedonia vietnam yemen ossetia",
    "south": "america korea carolina dakota africa sudan vietnam yemen ossetia",
    "east": "germany timor indies pakistan",
    "west": "germany virginia indies",
    "northern": "ireland cyprus rhodesia",
    "southern": "rhodesia yemen",
    "western": "sahara samoa",
    "central": "america",
    "latin": "america",
    "british": "columbia guiana honduras",
    "american": "samoa",
    "french": "guiana polynesia",
    "equatorial": "guinea",
    "inner": "mongolia",
    "lower": "saxony",
    "baja": "california",
    "new": "mexico york england zealand jersey hampshire orleans guinea delhi caledonia brunswick "
    "south",
}
# "Detroit City Council" still names Detroit.
_CITIES = {
    "mexico", "kansas", "oklahoma", "guatemala", "panama", "quebec", "kuwait", "jersey", "iowa",
    "missouri", "benin", "belize", "atlantic", "virginia", "ho chi minh",
}  # fmt: skip
# "Polish-French" names both nationalities.
_DEMONYM = re.compile(r"(?:ish|an|ese|ch|eek|iss)$")
_JOINING = {"post", "pre", "anti", "non", "pro", "ex", "mid", "pan", "trans", "neo", "present"}

# One-word answers that are also function words.
_TIME_WORDS = {"in", "of", "since", "until", "during", "early", "late", "last", "next"}
_ALSO_VERBS = {"may", "march", "will", "can", "mark"}
_ALSO_FUNCTION_WORDS = {"a", "i", "he", "in", "at", "as", "be", "no", "am", "so", "do", "or", "us"}
_AFTER_MODAL = {"i", "we", "he", "she", "it", "they", "you", "the", "a", "all", "god", "this"}
_AFTER_NOUN = {"is", "was", "stands", "means", "for", "and", "or", "on", "with", "after", "from"}


def mentions(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer or one of its aliases as whole words.

    An empty answer is never contained.
    """
    tokens = tokens_of(text)
    return any(_mentions_one(tokens, candidate) for candidate in (answer, *aliases))


def gives_away(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the text contains the answer, even as a part of another name ("Mexico City")."""
    tokens = tokens_of(text)
    return any(_mentions_one(tokens, name, in_other_names=True) for name in (answer, *aliases))


def names_another(text: str, name: str) -> bool:
    """Whether the name stands in the text only as a part of other names ("New Mexico")."""
    return gives_away(text, name) and not mentions(text, name)


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are spellings of the same: each names the other ("the euro", "Euros")."""
    return mentions(first, second) and mentions(second, first)


def is_number(answer: str) -> bool:
    """Whether an answer is one number, in digits or words."""
    tokens = without_article(tokens_of(answer))
    return len(tokens) == 1 and re.fullmatch(r"-?\d+(?:\.\d+)?", tokens[0].word) is not None


def _mentions_one(text: tuple[Token, ...], answer_text: str, in_other_names: bool = False) -> bool:
    answer = without_article(tokens_of(answer_text))
    if not answer:
        return False
    size = len(answer)
    may_be_singular = answer[-1].word.islower()
    for start in range(len(text) - size + 1):
        if not _matches(text[start : start + size], answer, may_be_singular):
            continue
        if size == 1 and not _is_the_name(text, start, answer[0]):
            continue
        if in_other_names or not _is_part_of_a_name(text, start, answer):
            return True
    return False


def _matches(window: Sequence[Token], answer: Sequence[Token], may_be_singular: bool) -> bool:
    """Whether all words are equal, except for a plural ending of the last one.

    A capitalized answer has no singular: "a job" does not name "Jobs".
    """
    for position, (token, wanted) in enumerate(zip(window, answer, strict=True)):
        if token.folded == wanted.folded or (position and _same_numeral(token, wanted)):
            continue
        if position + 1 < len(answer):
            return False
        plurals = _plurals(token.folded) if may_be_singular else ()
        if token.folded not in _plurals(wanted.folded) and wanted.folded not in plurals:
            return False
    return True


def _same_numeral(first: Token, second: Token) -> bool:
    """Whether a Roman numeral and a number are the same: "World War II", "World War Two"."""
    for roman, number in ((first.word, second.word), (second.word, first.word)):
        value = roman_value(roman)
        if value is not None and value == number_value(number):
            return True
    return False


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < 3 or not word[-1].isalpha() or number_value(word) is not None:
        return ()
    regular = (word + "s", word + "es")
    return (*regular, word[:-1] + "ies") if word.endswith("y") else regular


def _is_the_name(text: Sequence[Token], position: int, answer: Token) -> bool:
    """Whether a word of the text is the answer, and not a function word that is spelled like it.

    A symbol's case matters: "let us" must not name "US".
    """
    token = text[position]
    following = text[position + 1] if position + 1 < len(text) else None
    is_symbol = len(answer.word) <= 2 and answer.word[0].isupper()
    if is_symbol and token.word != answer.word:
        return False
    is_whole_text = len(without_article(text)) == 1
    if not answer.word[0].isupper() or is_whole_text:
        return True
    if answer.folded in _ALSO_VERBS:
        if token.word != answer.word:
            return position > 0 and text[position - 1].folded in _TIME_WORDS
        return not (
            token.opens_sentence and following is not None and following.folded in _AFTER_MODAL
        )
    if is_symbol and answer.folded in _ALSO_FUNCTION_WORDS and following is not None:
        is_pronoun = answer.folded == "i" and following.word.islower()
        if token.opens_sentence or is_pronoun:
            return answer.folded != "he" and following.folded in _AFTER_NOUN
    return True


def _is_part_of_a_name(text: Sequence[Token], start: int, answer: Sequence[Token]) -> bool:
    """Whether the words at `start` belong to a longer name: "New Mexico", "Guinea-Bissau"."""
    if not answer[0].word[0].isupper():
        return False
    stop = start + len(answer)
    if stop < len(text) and (
        _are_joined(text[stop - 1], text[stop]) or _continues(answer, text[stop].word)
    ):
        return True
    if start == 0:
        return False
    before = text[start - 1]
    # "Pierre-Auguste Renoir" is the name of Auguste Renoir.
    is_joined = len(answer) == 1 and _are_joined(before, text[start])
    is_direction = text[start].folded in _OTHER_PLACES.get(before.folded, "").split()
    return is_joined or is_direction or before.word == "New"


def _are_joined(first: Token, second: Token) -> bool:
    """Whether a hyphen makes one name of two words."""
    are_demonyms = _DEMONYM.search(first.folded) and _DEMONYM.search(second.folded)
    return first.is_joined and first.folded not in _JOINING and not are_demonyms


def _continues(name: Sequence[Token], after: str) -> bool:
    """Whether a word makes the name before it another one: "Mexico City", "Napoleon III"."""
    if after == "City":
        return " ".join(token.folded for token in name) in _CITIES
    last = name[-1].word
    is_regnal = after in ("V", "X") or (len(after) > 1 and roman_value(after) is not None)
    return is_regnal and last.isalpha() and roman_value(last) is None
