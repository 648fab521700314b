"""The strict test as a table: question, subject, and whether the question is about it."""

import pytest

from contraflow.text.subjects import is_on_subject

ON_SUBJECT = [
    ("When did World War II end?", "World War II", True),
    ("When did World War 2 end?", "World War II", True),
    ("When did the Second World War end?", "World War II", True),
    ("When did World War Two end?", "World War II", True),
    ("When did WWII end?", "World War II", True),
    ("When did World War I end?", "World War II", False),
    ("When did World War II end?", "World War I", False),
    ("Which two armies fought in World War I?", "World War II", False),
    ("What was one of the causes of World War II?", "World War I", False),
    ("When did World War II first reach Africa?", "World War I", False),
    ("When did the World War end?", "World War II", False),
    ("Who was the mother of Elizabeth I?", "Elizabeth I", True),
    ("Who was the mother of elizabeth i?", "Elizabeth I", True),
    ("Who was the mother of Elizabeth II?", "Elizabeth I", False),
    ("Who was the mother of Elizabeth I?", "Elizabeth II", False),
    ("Who was the mother of Elizabeth II?", "Queen Elizabeth II", True),
    ("Who was the mother of Elizabeth the Second?", "Elizabeth II", True),
    ("Who was the mother of Elizabeth II?", "Elizabeth", False),
    ("Who won Super Bowl XLIV?", "Super Bowl XLIV", True),
    ("Who won Super Bowl 44?", "Super Bowl XLIV", True),
    ("Who won Super Bowl XLV?", "Super Bowl XLIV", False),
    ("Who won the 2014 World Cup?", "2014 FIFA World Cup", True),
    ("Who won the World Cup in 2014?", "2014 FIFA World Cup", True),
    ("Who won the 2010 World Cup?", "2014 FIFA World Cup", False),
    ("Who won the World Cup?", "2014 FIFA World Cup", False),
    ("Who led the Second Crusade?", "Second Crusade", True),
    ("Who led the First Crusade?", "Second Crusade", False),
    ("Who won the Second Punic War?", "Second Punic War", True),
    ("Who won the First Punic War?", "Second Punic War", False),
    ("Who flew on Apollo 11?", "Apollo 11", True),
    ("Who flew on Apollo 13?", "Apollo 11", False),
    ("Who directed Seven Samurai?", "Seven Samurai", True),
    ("Who directed Samurai?", "Seven Samurai", False),
    ("Who wrote Catch-22?", "Catch-22", True),
    ("Who wrote Fahrenheit 451?", "Fahrenheit 451", True),
    ("Who wrote 1984?", "1984", True),
    ("Who wrote Nineteen Eighty-Four?", "1984", True),
    ("Who painted The Third of May 1808?", "The Third of May 1808", True),
    ("Who wrote One Hundred Years of Solitude?", "One Hundred Years of Solitude", True),
    ("Which band made the 1990s hit?", "1990 hit", False),
    ("Who founded 3M?", "3M", True),
    ("Who wrote I, Robot?", "I, Robot", True),
    ("Who composed The King and I?", "The King and I", True),
    ("Who was the first emperor of China?", "first emperor of China", True),
    ("What is the capital of New Mexico?", "Mexico", False),
    ("Is Mexico City the capital of Mexico?", "Mexico", True),
    ("What is the capital of Guinea-Bissau?", "Guinea", False),
]


@pytest.mark.parametrize(("question", "subject", "expected"), ON_SUBJECT)
def test_numbers_belong_to_the_subject(question: str, subject: str, expected: bool) -> None:
    assert is_on_subject(question, subject) is expected
