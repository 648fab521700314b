"""Which texts a vocabulary allows, and which subjects a question in it can name."""

import sys

import pytest

from contraflow.policy.constraints import _is_allowed
from contraflow.text.alphabet import VOCABULARIES, can_name, is_in_alphabet


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_it_is_the_alphabet_of_the_sampler(vocabulary: str) -> None:
    """For the characters but the end of a question and the line breaks, which no alphabet has."""
    for code in (*range(0x3000), *range(0x3000, sys.maxunicode, 997)):
        char = chr(code)
        if char not in "?\n\r":
            assert is_in_alphabet(char, vocabulary) == _is_allowed(char, vocabulary), code


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Hamlet", "printable_ascii latin all"),
        ("Nineteen Eighty-Four", "printable_ascii latin all"),
        ("José Martí", "printable_ascii latin all"),
        ("Łódź", "printable_ascii latin all"),
        ("Москва", "all"),
        ("Σπάρτη", "all"),
        ("東京", "all"),
        ("東京 2020", "all"),
        ("The Great Wall 長城", "printable_ascii latin all"),
        ("\U0001f600", ""),
        ("", ""),
    ],
)
def test_which_vocabularies_can_name_a_subject(subject: str, expected: str) -> None:
    assert [name for name in VOCABULARIES if can_name(subject, name)] == expected.split()
