"""The words of a text in one spelling."""

import pytest

from contraflow.text.tokens import normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Mona Lisa!", "mona lisa"),
        ("  José   Martí\u2019s ", "jose marti"),
        ("U.S.A.", "usa"),
        ("J. R. R. Tolkien", "jrr tolkien"),
        ("J.K. Rowling", "jk rowling"),
        ("Rock & Roll", "rock and roll"),
        ("A", "a"),
        ("a dog", "dog"),
        ("O'Brien", "obrien"),
        ("300,000 km", "300000 km"),
        ("C++ and C#", "c++ and c#"),
        ("Straße", "strasse"),
        ("", ""),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected
