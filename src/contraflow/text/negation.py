"""What an answer asserts: its text without the parts that are denied.

"Thor was not born to Odin." asserts nothing about Odin, "Paris, not Lyon." asserts Paris.
"""

from __future__ import annotations

import re

from contraflow.text.folding import APOSTROPHES, visible

_AUXILIARY = (
    "is|are|was|were|am|be|been|do|does|did|has|have|had|can|could|will|would|shall|should|may"
    "|might|must"
)
# Negations that deny nothing: "not only Odin", "not until 1969", "none other than Odin".
_EXEMPT = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|n't)"
    r" (?:only|just|merely|simply|until|to mention|doubt|question|but|other than|one but"
    r"|less than|fewer than|more than|later than|earlier than|surprise|wonder)\b",
    re.IGNORECASE,
)
_UNTIL = re.compile(r"(?:\bnot|n't|\bnever)\b(?=[^.,;!?]*\b(?:until|till|before)\b)", re.IGNORECASE)
# "No, it was Odin" answers the question; "No. 5" is a number. Titles have capitals: "Dr. No".
_CUE = re.compile(
    rf"(?P<verbal>\b(?:{_AUXILIARY})(?: \w+ly)? not\b|\b(?:{_AUXILIARY}|wo|ca)n't\b|\bcannot\b"
    r"|\b(?:dont|doesnt|didnt|isnt|arent|wasnt|werent|cant|wont|hasnt|hadnt|wouldnt|couldnt)\b"
    rf"|\b(?:{_AUXILIARY})? ?(?:never|no longer|neither)\b)"
    r"|\bnot\b|^Not\b|^(?:Never|Neither)\b|\b(?:nor|neither|none of)\b"
    r"|\bno (?=[^\W\d])|^No (?=[^\W\d_A-Z])"
    r"|\b(?:rather than|instead of|other than|except|unlike|apart from)\b"
    r"|\bit is (?:false|untrue|wrong) that\b"
)
# A point after a single capital letter or a title ends no sentence: "J. K. Rowling", "St. Louis".
_SENTENCE_END = re.compile(
    r"(?<=[.!?;:])(?<!\b[A-Z]\.)(?<!\b(?:St|Mt|Dr|Mr|Ft)\.)\s+|\s*[\u2014]\s*|\s+-+\s+"
)
_CLAUSE_END = re.compile(
    r",\s+|\s+(?=(?:but|however|although|though|whereas|while|because)\b)"
    rf"|\s+(?=and (?:it|he|she|they|{_AUXILIARY})\b)"
)
# "not, in fact, born to Odin"
_ASIDE = re.compile(r"(?<=not), [^,]*, |(?<=n't), [^,]*, ")
_NEW_CLAUSE = re.compile(
    r"(?:but|however|it|he|she|they|this|that|which|who|and|so|yet|instead|rather)\b"
    rf"|[^,]*\b(?:{_AUXILIARY})\b",
    re.IGNORECASE,
)


def asserted(text: str) -> str:
    """Return the text without its denied clauses.

    A clause after a denied one is denied too ("not in Paris, France"), unless it starts anew with a
    pronoun, a conjunction or a verb of its own ("not Loki, it was Odin").
    """
    text = " ".join(visible(text).translate(APOSTROPHES).split())
    text = _UNTIL.sub("", _EXEMPT.sub("", text))
    kept = []
    for sentence in _SENTENCE_END.split(text):
        is_denied = False
        for clause in _CLAUSE_END.split(_ASIDE.sub(" ", sentence)):
            if is_denied and not _NEW_CLAUSE.match(clause):
                continue
            remainder = _without_denied(clause)
            is_denied = remainder != clause
            kept.append(remainder)
    return ", ".join(kept)


def _without_denied(clause: str) -> str:
    """Cut a clause at its negation; one whose verb is denied says nothing at all."""
    cue = _CUE.search(clause)
    if cue is None:
        return clause
    return "" if cue["verbal"] else clause[: cue.start()]
