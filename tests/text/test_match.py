"""When a text names an answer: one example per line."""

import pytest

from contraflow.text.match import mentions, same_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The capital is Paris.", "Paris"),
        ("PARIS", "paris"),
        ("It was Shakespeare's play.", "Shakespeare"),
        ("the United States' flag", "the United States"),
        ("Whales are mammals.", "mammal"),
        ("Countries", "country"),
        ("It costs one euro.", "euros"),
        ("It has seven colors", "7"),
        ("It has 7 colors", "seven"),
        ("The answer is 12.", "twelve"),
        ("Made in the U.S.", "US"),
        ("Jose Marti wrote it", "José Martí"),
        ("Its symbol is Fe.", "Fe"),
        ("by J.R.R. Tolkien", "J. R. R. Tolkien"),
        ("in 1,000 years", "1000"),
        ("He wrote C++.", "C++"),
        ("It has twenty-six letters.", "26"),
        ("It has 50 stars", "fifty"),
    ],
)
def test_text_names_answer(text: str, answer: str) -> None:
    assert mentions(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A Parisian cafe", "Paris"),
        ("let us see", "US"),
        ("He had a job", "Jobs"),
        ("In 1789", "178"),
        ("It is 3.5 metres", "3"),
        ("William the Conqueror", "William Shakespeare"),
        ("Anything at all", ""),
        ("", "Paris"),
        ("fe fi fo fum", "Fe"),
        ("He wrote C.", "C++"),
        ("It has twenty-four hours", "twenty"),
        ("It has twenty-four hours", "four"),
        ("Niger is a country", "Nigeria"),
    ],
)
def test_text_does_not_name_answer(text: str, answer: str) -> None:
    assert not mentions(text, answer)


def test_any_alias_will_do() -> None:
    assert mentions("It is in America", "United States", ("USA", "America"))
    assert not mentions("It is in Canada", "United States", ("USA", "America"))


def test_same_needs_both_directions() -> None:
    assert same_answer("the Euro", "euros")
    assert not same_answer("Guinea", "Guinea-Bissau")
