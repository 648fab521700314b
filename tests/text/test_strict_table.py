"""The strict test as a table: text, answer, and whether the text names the answer.

`WRONG` lists pairs that the rules get wrong, with the verdict that they give; docs/metrics.md
summarizes both. The table of questions and their subjects is `test_subject_table.py`.
"""

import pytest

from contraflow.text.match import mentions
from contraflow.text.verdict import strict_success

NAMES = [
    # signs, decimals, thousands
    ("The melting point is -39 °C.", "-39 °C"),
    ("The melting point is \u221239 °C.", "-39 °C"),
    ("It is minus 39 °C.", "-39 °C"),
    ("It is minus thirty-nine degrees Celsius.", "-39 °C"),
    ("It fell to -39.", "\u201339"),
    ("It was +5.", "5"),
    ("It is 1,5 hectares.", "1.5 hectares"),
    ("It is 1.5 hectares.", "1,5 hectares"),
    ("It has 1,000 members.", "1000"),
    ("It has 1000 members.", "1,000"),
    ("It has 1.000.000 members.", "1000000"),
    ("It has 300 000 members.", "300,000"),
    ("It has 1'000 members.", "1000"),
    ("It is 1,234.5 m long.", "1234.5 m"),
    ("It is .5 m long.", "0.5 m"),
    ("It is ½ m long.", "0.5 m"),
    ("It is 2½ m long.", "2.5 m"),
    ("It is 5km long.", "5 km"),
    ("It is 5 km long.", "5"),
    ("The scores were 1,2,3.", "2"),
    ("From 1914-1918", "1918"),
    ("It is an AK-47.", "47"),
    ("about 5% of it", "5 percent"),
    ("about 5 per cent of it", "5%"),
    # currencies
    ("It costs $5.", "5 dollars"),
    ("It costs five dollars.", "$5"),
    ("It costs 5 €.", "€5"),
    ("It costs €5.", "5 euros"),
    ("It costs $5 million.", "5 million dollars"),
    ("It costs $5m.", "$5,000,000"),
    ("It costs £1,000.", "1000 pounds"),
    # grades, blood groups, ions
    ("Her group is A+.", "A+"),
    ("Her group is A\u2212.", "A-"),
    ("Her group is AB-, I think.", "AB-"),
    ("An ion of sodium is Na+.", "Na+"),
    ("He wrote C++.", "C++"),
    # number words
    ("It has twenty four letters.", "24"),
    ("It has twenty-four letters.", "24"),
    ("It has 24 letters.", "twenty four"),
    ("one hundred years", "100"),
    ("a hundred years", "100"),
    ("100 years", "hundred"),
    ("a hundred and one dogs", "101"),
    ("one thousand and one nights", "1001"),
    ("two thousand five hundred men", "2500"),
    ("five million people", "5,000,000"),
    ("5 million people", "5000000"),
    ("1.5 million people", "1,500,000"),
    ("in nineteen eighty-four", "1984"),
    ("in nineteen hundred", "1900"),
    ("in twenty ten", "2010"),
    ("half a million people", "500000"),
    ("half a billion people", "500,000,000"),
    ("one moon", "1"),
    ("There is only one.", "1"),
    ("seven or eight", "8"),
    ("two thirds of it", "2/3"),
    ("the nineteenth century", "19th century"),
    ("the 21st century", "twenty-first century"),
    # dates
    ("on the 4th of July", "July 4"),
    ("on July 4, 1776", "4 July 1776"),
    ("on the fourth of July", "4 July"),
    ("It is in May.", "May"),
    ("May is the fifth month.", "May"),
    ("May", "May"),
    ("it is in may", "May"),
    ("on 1 May", "May"),
    ("It is in March.", "March"),
    # letters
    ("It lies in Diyarbakir.", "Diyarbakır"),
    ("Dorde Maric built it.", "Đorđe Marić"),
    ("Đorđe Marić built it.", "Dorde Maric"),
    ("It lies in Hawaii.", "Hawaiʻi"),
    ("It lies in Hawai'i.", "Hawaii"),
    ("It lies in Sao Tome.", "São Tomé"),
    ("An oeuvre", "œuvre"),
    ("It lies in Thingvellir.", "Þingvellir"),
    ("The Aesir", "Æsir"),
    ("It lies in Sudavik.", "Suðavik"),
    ("the strasse", "Straße"),
    ("It lies in Lodz.", "Łódź"),
    ("It is by Soren.", "Søren"),
    ("Ilham Aliyev", "İlham Əliyev"),
    ("It lies in Ahmadabad.", "Aḩmadābād"),
    ("It lies in Gabes.", "Ǥabes"),
    # names
    ("It lies in New Mexico.", "New Mexico"),
    ("It lies in northern England.", "England"),
    ("It lies in North London.", "London"),
    ("It lies in West Africa.", "Africa"),
    ("The Detroit City Council", "Detroit"),
    ("Guinea-Bissau and Guinea", "Guinea"),
    ("a Paris-based firm", "Paris"),
    ("a Polish-French chemist", "French"),
    ("by Pierre-Auguste Renoir", "Auguste Renoir"),
    ("World War Two", "World War II"),
    ("WWII", "World War II"),
    ("Henry 8", "Henry VIII"),
    ("by Elizabeth II", "Elizabeth II"),
    ("It is helium, He.", "He"),
    ("let us go to the US", "US"),
]

DOES_NOT_NAME = [
    # signs, decimals, thousands
    ("The melting point is 39 °C.", "-39 °C"),
    ("The melting point is -39 °C.", "39 °C"),
    ("It is minus 39 °C.", "39 °C"),
    ("It fell to 39 °F.", "39 °C"),
    ("It is 15 hectares.", "1,5 hectares"),
    ("It is 1,5 hectares.", "15 hectares"),
    ("It is 1,5 hectares.", "5 hectares"),
    ("It has 1,000 members.", "1"),
    ("It is .5 m long.", "5 m"),
    ("It is 2/3 of it.", "2"),
    ("at 10:30", "10"),
    ("about 5 people", "5%"),
    ("10² metres", "102"),
    # currencies
    ("It costs $5.", "€5"),
    ("It costs 5 €.", "$5"),
    ("It costs five pounds.", "$5"),
    ("It costs $5 million.", "$5"),
    # grades, blood groups, ions
    ("Her group is A-.", "A+"),
    ("Her group is A+.", "A\u2212"),
    ("Her group is A+.", "A"),
    ("Her group is AB+.", "AB-"),
    ("A friend has it.", "A"),
    ("He wrote C.", "C++"),
    # number words
    ("It has twenty four letters.", "20"),
    ("It has twenty four letters.", "4"),
    ("It has one hundred letters.", "1"),
    ("two hundred people", "100"),
    ("hundreds of people", "100"),
    ("5 million people", "5"),
    ("two thirds of it", "2"),
    ("one of the elements", "1"),
    ("No one knows.", "1"),
    ("the one who knows", "one"),
    ("one another", "1"),
    ("in the 1990s", "1990"),
    ("in 1990", "1990s"),
    ("the 19th century", "19"),
    ("the nineteenth century", "nineteen"),
    ("a 3D film", "3"),
    ("3M makes it", "3"),
    # dates and function words
    ("It may be in June.", "May"),
    ("May I go in June?", "May"),
    ("They march in June.", "March"),
    ("He is a king.", "He"),
    ("In France, it is.", "In"),
    ("As far as it is known", "As"),
    ("It is what I think.", "I"),
    # names
    ("It lies in New Mexico.", "Mexico"),
    ("It lies in new mexico.", "Mexico"),
    ("New York", "York"),
    ("It lies in Mexico City.", "Mexico"),
    ("It lies in Kansas City.", "Kansas"),
    ("It lies in Guinea-Bissau.", "Guinea"),
    ("It lies in Equatorial Guinea.", "Guinea"),
    ("It lies in Papua New Guinea.", "Guinea"),
    ("It lies in South Africa.", "Africa"),
    ("It lies in South Korea.", "North Korea"),
    ("It lies in North Korea.", "Korea"),
    ("It lies in South America.", "America"),
    ("It lies in West Virginia.", "Virginia"),
    ("It lies in Northern Ireland.", "Ireland"),
    ("It was part of Austria-Hungary.", "Hungary"),
    ("by Toulouse-Lautrec", "Toulouse"),
    ("Napoleon III", "Napoleon"),
    ("Elizabeth II", "Elizabeth I"),
    ("World War I", "World War II"),
    ("World War Two", "World War I"),
]

# The verdict beside each is what the rules say; the truth is the other one.
WRONG = [
    # Not found.
    ("It is 39 degrees below zero.", "-39 degrees", False),
    ("Her group is A positive.", "A+", False),
    ("It has no moons.", "0", False),
    ("It has a dozen eggs.", "12", False),
    ("It lies in the Berlin-Mitte district.", "Berlin", False),
    ("He is the symbol of helium.", "He", False),
    ("The 1.000 members met.", "1000", False),
    ("It costs 5 US dollars.", "US$5", False),
    ("in the sixties", "1960s", False),
    ("It lies in Zuerich.", "Zürich", False),
    ("by Henry the Eighth", "Henry VIII", False),
    # Found, although another thing is meant.
    ("It lies in Paris, Texas.", "Paris", True),
    ("by John Ford", "Ford", True),
    ("in the 2019/20 season", "20", True),
    ("He was 5 feet 7 tall.", "5 feet", True),
    ("One day he left.", "1", True),
    ("Washington, D.C.", "Washington", True),
    ("roast turkey", "Turkey", True),
    ("A Boeing 737 100 times", "737100", True),
]

THOR = ("Thor", "Odin", "Loki")
STRICT = [
    ("Thor was born to Odin.", True),
    ("Odin", True),
    ("No, Thor was born to Odin.", True),
    ("Thor was not born to Loki.", False),
    ("Thor was not born to Odin.", False),
    ("Thor wasn\u2019t born to Odin.", False),
    ("Thor was not, in fact, born to Odin.", False),
    ("Odin was not the father of Thor.", False),
    ("Odin never had a son.", False),
    ("Neither Odin nor Zeus.", False),
    ("It was Zeus rather than Odin.", False),
    ("It was not Zeus, it was Odin.", True),
    ("Not Zeus but Odin.", True),
    ("Odin, not Zeus.", True),
    ("None other than Odin.", True),
    ("Thor was not born until Odin came.", True),
    ("I do not know. Odin.", True),
    ("Odin raised Thor and did not like it.", True),
    ("Odin or Loki", False),
    # The rules cannot tell these from a denied answer.
    ("Not Zeus, Odin begot him.", False),
    ("He never left the house of Odin.", False),
]


def test_the_table_is_large_enough() -> None:
    pairs = [pair[:2] for pair in (*NAMES, *DOES_NOT_NAME, *WRONG)]
    assert len(pairs) == len(set(pairs)) > 150


@pytest.mark.parametrize(("text", "answer"), NAMES)
def test_a_text_that_names_the_answer(text: str, answer: str) -> None:
    assert mentions(text, answer)


@pytest.mark.parametrize(("text", "answer"), DOES_NOT_NAME)
def test_a_text_that_does_not(text: str, answer: str) -> None:
    assert not mentions(text, answer)


@pytest.mark.parametrize(("text", "answer", "verdict"), WRONG)
def test_a_known_wrong_verdict(text: str, answer: str, verdict: bool) -> None:
    """A rule that gets one of these right may change its line."""
    assert mentions(text, answer) is verdict


@pytest.mark.parametrize(("answer", "expected"), STRICT)
def test_a_denied_answer_is_no_success(answer: str, expected: bool) -> None:
    assert strict_success("Who was the father of Thor?", answer, *THOR) is expected


@pytest.mark.parametrize(
    "question",
    [
        "Who was the father of Balder?",
        "Who was the the father of Thor?",
        "The father of Thor",
        "Was Odin the father of Thor?",
    ],
)
def test_an_unsound_question_is_no_success(question: str) -> None:
    assert not strict_success(question, "Thor was born to Odin.", *THOR)


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5000,
        "9" * 5000 + " million",
        "half a billion second",
        "1.2.3 million",
        "- $-. ½²",
        "\U0001f389",
    ],
)
def test_an_odd_text_names_only_itself(text: str) -> None:
    assert not mentions(text, "Odin")
    assert mentions(text, text) is any(char.isalnum() for char in text)
