"""Which characters `policy.vocabulary` allows in a question, and which subjects they can name."""

from __future__ import annotations

from typing import Literal, get_args

from contraflow.text.subjects import is_on_subject
from contraflow.text.tokens import numbered_words

Vocabulary = Literal["printable_ascii", "latin", "all"]
VOCABULARIES: tuple[str, ...] = get_args(Vocabulary)


def is_in_alphabet(text: str, vocabulary: str) -> bool:
    """Whether every character of a text is allowed: ASCII, with accented letters, or any."""
    if vocabulary == "all":
        return True
    return all(
        32 <= ord(char) < 127
        or (vocabulary == "latin" and 0xC0 <= ord(char) <= 0x24F and char.isalpha())
        for char in text
    )


def can_name(subject: str, vocabulary: str) -> bool:
    """Whether a question of these characters can be on the subject.

    Accents are not compared, so that "José" can be written in ASCII, and of a name with three or
    more words most will do. Emojis and other scripts are in the `all` vocabulary only.
    """
    if is_in_alphabet(subject, vocabulary):
        return is_on_subject(f"What is {subject}?", subject)
    writable = [word for word in numbered_words(subject) if is_in_alphabet(word, vocabulary)]
    return is_on_subject(f"What is {' '.join(writable)}?", subject)
