"""Finite forms of English verbs, to turn questions into statements ("did attend": "attended")."""

from __future__ import annotations

import re

from contraflow.text.words import word_set

_IRREGULAR_PAST = {
    "be": "was", "become": "became", "begin": "began", "break": "broke", "bring": "brought",
    "build": "built", "buy": "bought", "choose": "chose", "come": "came", "do": "did",
    "draw": "drew", "fall": "fell", "fight": "fought", "find": "found", "fly": "flew", "get": "got",
    "give": "gave", "go": "went", "grow": "grew", "have": "had", "hold": "held", "keep": "kept",
    "lead": "led", "leave": "left", "lose": "lost", "make": "made", "marry": "married",
    "meet": "met", "play": "played", "put": "put", "run": "ran", "say": "said", "see": "saw",
    "sell": "sold", "set": "set", "sing": "sang", "sit": "sat", "speak": "spoke", "spend": "spent",
    "stand": "stood", "star": "starred", "steal": "stole", "sweep": "swept", "swim": "swam",
    "take": "took", "teach": "taught", "tell": "told", "think": "thought", "wear": "wore",
    "win": "won", "write": "wrote",
}  # fmt: skip
_PARTICIPLES = word_set(
    "born built made written sung held known sold won found given taken drawn led left seen set "
    "shot spoken begun bought brought chosen fought kept lost put run sent shown taught told worn"
)
# Verbs that double their last consonant before "ed".
_DOUBLED = word_set("stop plan ban star ship drop admit commit refer transfer control submit")
_THIRD = {"be": "is", "are": "is", "were": "was", "have": "has", "do": "does", "go": "goes"}


def past(verb: str) -> str:
    """Return the past form: "attend" -> "attended", "write" -> "wrote"."""
    if verb in _IRREGULAR_PAST:
        return _IRREGULAR_PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    if verb in _DOUBLED:
        return verb + verb[-1] + "ed"
    return verb + "ed"


def third_person(verb: str) -> str:
    """Return the third person singular: "play" -> "plays", "are" -> "is"."""
    if verb in _THIRD:
        return _THIRD[verb]
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    ending = "es" if re.search(r"(?:s|sh|ch|x|z)$", verb) else "s"
    return verb + ending


def is_past(word: str) -> bool:
    """Whether a word is a past form, judged by its spelling."""
    return bool(re.fullmatch(r"[a-z]{2,}ed", word)) or word in _IRREGULAR_PAST.values()


def is_participle(word: str) -> bool:
    """Whether a word may follow "was": "created", "written"."""
    return bool(re.fullmatch(r"[a-z]{2,}ed", word)) or word in _PARTICIPLES
