"""When a question is about its subject, and which shorter names a subject has."""

import pytest

from contraflow.text.subjects import is_on_subject, short_names


@pytest.mark.parametrize(
    ("question", "subject", "expected"),
    [
        ("Who wrote Hamlet?", "Hamlet", True),
        ("Who wrote HAMLET?", "Hamlet", True),
        ("What is Hamlet's subject?", "Hamlet", True),
        ("Who wrote Hamletmachine?", "Hamlet", False),
        ("Who wrote it?", "Hamlet", False),
        ("Where was Curie born?", "Marie Curie", False),
        ("Where was Marie Curie born?", "Marie Curie", True),
        ("Where is Korea?", "South Korea", False),
        ("How many legs do spiders have?", "a spider", True),
        ("What do wolves eat?", "wolf", True),
        ("Who wrote The Lord of the Rings?", "The Lord of the Rings", True),
        ("Who was the lord of the manor?", "The Lord of the Rings", False),
        ("Where was García Márquez born?", "Gabriel García Márquez", True),
        ("Where was Gabriel Garcia Marquez born?", "Gabriel García Márquez", True),
        ("Where was Gabriel born?", "Gabriel García Márquez", False),
        ("Which band recorded it?", "The Who", False),
        ("Who played the drums in The Who?", "The Who", True),
        ("What is the capital of the United States?", "United States of America", True),
        ("Who was Marie Curie?", "radium", False),
        ("What is the capital of Cote d'Ivoire?", "Côte d\u2019Ivoire", True),
        ("Who wrote Hamlet?", "", False),
    ],
)
def test_on_subject(question: str, subject: str, expected: bool) -> None:
    assert is_on_subject(question, subject) is expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Banff National Park", ("Banff",)),
        ("Mount Everest", ("Everest",)),
        ("Amazon River", ("Amazon",)),
        ("kung pao chicken", ("kung pao",)),
        ("Apple Inc.", ("Apple",)),
        ("Albert Einstein", ("Einstein",)),
        ("Ludwig van Beethoven", ("Beethoven",)),
        ("Hamlet", ()),
        ("South Africa", ()),  # the rest of these is another thing
        ("New Zealand", ()),
        ("Mexico City", ()),
        ("London Bridge", ()),
        ("Bank of England", ()),
        ("World War II", ()),  # a number belongs to a name
        ("Apollo 11", ()),
        ("Red River", ()),  # too short to be told from a word
        ("fruit bat", ()),
        ("", ()),
    ],
)
def test_short_names(subject: str, expected: tuple[str, ...]) -> None:
    assert short_names(subject) == expected
