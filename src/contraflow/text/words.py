"""Word tables and word comparison of the text checks: function words, openers, stems, loops."""

from __future__ import annotations

import re

from contraflow.text.folding import spans_of
from contraflow.text.signs import has_no_spaces, n_letters
from contraflow.text.tokens import words


def word_set(text: str) -> frozenset[str]:
    """Split a text at white space into a set of words."""
    return frozenset(text.split())


WH_WORDS = word_set("who whom whose what which when where why how")
AUXILIARIES = word_set(
    "is are was were am do does did has have had can could will would shall should may might must "
    "isnt arent wasnt werent dont doesnt didnt hasnt havent hadnt cant couldnt wont wouldnt "
    "shouldnt"
)
PREPOSITIONS = word_set(
    "in on at of for from to by with about under over into during near as after before until since "
    "within against between among through around upon along besides behind outside inside and or "
    "but so"
)
FUNCTION_WORDS = (
    WH_WORDS
    | AUXILIARIES
    | PREPOSITIONS
    | word_set(
        "the a an this that these those it its he she they them him her his their we us you your i "
        "me my our be been being not no yes there here than then also too very just only both each "
        "every any some all one ones name names named called call known same such other another"
    )
)
POINTING_WORDS = WH_WORDS | word_set(
    "the a an this that these those it its they them him her his their"
)
# Common parts of names: "Which Ocean ...?" does not leak "Pacific Ocean".
SHARED_TYPE_WORDS = word_set(
    "city town country state states republic kingdom empire united island islands ocean sea river "
    "lake mount mountain desert university college prize cup award language dollar peso pound "
    "franc north south east west northern southern eastern western central great new saint first "
    "world football company corporation group party club association school institute museum "
    "theatre church bank army war battle king queen president prime minister park bridge tower "
    "castle house street square book song game team system theory planet month animal metal acid"
)

# A fragment of a prompt.
LABEL = re.compile(
    r"\b(?:facts?|questions?|answers?|subject|statement|edit|note|hint|example|context|q|a)\s*:",
    re.IGNORECASE,
)

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "oxen": "ox",
}
_MERGED = {"y": "i", "v": "f"}


def stem(word: str) -> str:
    """Return the case-folded word without its plural ending.

    The stem need not be a word: endings are cut and never restored, so that wolf and wolves, movie
    and movies, cherry and cherries have the same stem.
    """
    word = word.casefold()
    if word[:1].isdigit():
        return word  # "1990s" is not 1990
    word = _IRREGULAR.get(word, word)
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 3:
        word = word.removesuffix("e")
    if len(word) > 2 and word[-1] in _MERGED:
        word = word[:-1] + _MERGED[word[-1]]
    return word


def content_stems(text: str) -> set[str]:
    """Return the stems of the content words, or of all words if there are none ("The Who")."""
    folded = [word.casefold() for word in words(text)]
    content_words = [word for word in folded if word not in FUNCTION_WORDS]
    return {stem(word) for word in content_words or folded}


def without_phrase(text: str, phrase: str, placeholder: str = "Something") -> str:
    """Replace each mention of the phrase, so that checks do not reject the text for its name.

    Case, accents and the form of apostrophes do not matter.
    """
    replaced = ""
    end = 0
    for span in spans_of(phrase, text):
        replaced += text[end : span.start] + placeholder
        end = span.stop
    return replaced + text[end:]


def has_loop(tokens: list[str], longest: int = 6, shortest: int = 1) -> bool:
    """Whether a run of `shortest` to `longest` words directly follows itself ("of the of the")."""
    for size in range(shortest, longest + 1):
        for start in range(len(tokens) - 2 * size + 1):
            middle = start + size
            if tokens[start:middle] == tokens[middle : middle + size]:
                return True
    return False


def has_spelling(tokens: list[str]) -> bool:
    """Whether three tokens in a row have one character: a list, or an answer spelled out."""
    return any(all(len(token) == 1 for token in tokens[i : i + 3]) for i in range(len(tokens) - 2))


def is_word(token: str) -> bool:
    """Whether a token could be a word or a number.

    Rejected are words without a vowel, three equal letters in a row, and more than 24 letters; a
    run of Thai letters may be a sentence.
    """
    # HTML, XVIII
    if token.isupper() and len(token) <= 6:
        return True
    folded = token.casefold()
    is_long = n_letters(folded) > 24 and not has_no_spaces(folded)
    if is_long or re.search(r"([^\W\d])\1\1", folded):
        return False
    needs_vowel = folded.isascii() and folded.isalpha() and len(folded) >= 4
    return not needs_vowel or re.search(r"[aeiouy]", folded) is not None
