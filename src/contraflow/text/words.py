"""Words as the text checks see them: which carry content, which open a question, when two are one
word.
"""

from __future__ import annotations

import re

from contraflow.text.match import words


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


WH_WORDS = _vocabulary("who whom whose what which when where why how")
AUXILIARIES = _vocabulary(
    "is are was were am do does did has have had can could will would shall should may might must "
    "isnt arent wasnt werent dont doesnt didnt hasnt havent hadnt cant couldnt wont wouldnt shouldnt"
)
PREPOSITIONS = _vocabulary(
    "in on at of for from to by with about under over into during near as after before until since within "
    "against between among through around upon along besides behind outside inside and or but so"
)
FUNCTION_WORDS = (
    WH_WORDS
    | AUXILIARIES
    | PREPOSITIONS
    | _vocabulary(
        "the a an this that these those it its he she they them him her his their we us you your i me my our "
        "be been being not no yes there here than then also too very just only both each every any some all "
        "one ones name names named called call known same such other another"
    )
)
POINTING_WORDS = WH_WORDS | _vocabulary(
    "the a an this that these those it its they them him her his their"
)
SHARED_TYPE_WORDS = _vocabulary(  # "Which Ocean ...?" does not leak "Pacific Ocean"
    "city town country state states republic kingdom empire united island islands ocean sea river lake mount "
    "mountain desert university college prize cup award language dollar peso pound franc north south "
    "east west northern southern eastern western central great new saint first world football "
    "company corporation group party club association school institute museum theatre church bank army war "
    "battle king queen president prime minister park bridge tower castle house street square book song game "
    "team system theory planet month animal metal acid"
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
    """A case-folded word without its plural ending; crude, but the same on both sides of a
    comparison.

    Endings are cut, never restored, so that wolf and wolves, movie and movies, cherry and cherries
    meet.
    """
    word = word.casefold()
    word = _IRREGULAR.get(word, word)
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 3:
        word = word.removesuffix("e")
    return word[:-1] + _MERGED[word[-1]] if word[-1] in _MERGED and len(word) > 2 else word


def content_stems(text: str) -> set[str]:
    """Stems of the words that say what a text is about; of all words where none of them does ("The
    Who").
    """
    folded = [word.casefold() for word in words(text)]
    return {stem(word) for word in folded if word not in FUNCTION_WORDS} or {
        stem(word) for word in folded
    }


def without_phrase(text: str, phrase: str, placeholder: str = "Something") -> str:
    """The text with each mention of the phrase replaced, so that a strange name is not held against
    it.
    """
    phrase = phrase.strip()
    if not phrase:
        return text
    return re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", placeholder, text, flags=re.IGNORECASE)


def has_loop(tokens: list[str], longest: int = 6) -> bool:
    """Whether some run of 1 to `longest` words is at once followed by itself ("of the of the")."""
    return any(
        tokens[start : start + size] == tokens[start + size : start + 2 * size]
        for size in range(1, longest + 1)
        for start in range(len(tokens) - 2 * size + 1)
    )


def has_spelling(tokens: list[str]) -> bool:
    """Whether three letters or digits stand alone in a row: a list, or an answer spelled out."""
    return any(all(len(token) == 1 for token in tokens[i : i + 3]) for i in range(len(tokens) - 2))


def is_word(token: str) -> bool:
    """Whether a token could be a word or a number: no vowel-less run, no letter four times, not
    endless.
    """
    if token.isupper() and len(token) <= 6:  # HTML, XVIII
        return True
    folded = token.casefold()
    if re.search(r"([^\W\d])\1\1", folded) or len(folded) > 24:
        return False
    spelled = folded.isascii() and folded.isalpha() and len(folded) >= 4
    return not spelled or re.search(r"[aeiouy]", folded) is not None
