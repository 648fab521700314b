"""Questions and open prompts become statements: natural ones, or stiff ones that are true."""

from __future__ import annotations

import pytest

from contraflow.facts.formats._clozes import statement_of_cloze
from contraflow.facts.formats._questions import sentence, statement_of


@pytest.mark.parametrize(
    ("question", "subject", "answer", "expected"),
    [
        ("What university did Mira Lund attend?", "Mira Lund", "Oslo", "Mira Lund attended Oslo."),
        (
            "Which family does Nacella belong to?",
            "Nacella",
            "Patella",
            "Nacella belongs to Patella.",
        ),
        ("What position does Bo play?", "Bo", "goalkeeper", "Bo plays the position of goalkeeper."),
        ("What artist created Blue Hour?", "Blue Hour", "Ann Rowe", "Ann Rowe created Blue Hour."),
        ("who wrote Of Mists", "Of Mists", "Al Kent", "Al Kent wrote Of Mists."),
        ("Who was the architect of Hall?", "Hall", "Bo", "The architect of Hall was Bo."),
        ("Who is Ann Rowe's sister?", "Ann Rowe", "Mary", "Ann Rowe's sister is Mary."),
        ("Who is known for The Wall?", "The Wall", "Bo", "Bo is known for The Wall."),
        ("In which country is Kalby?", "Kalby", "Sorland", "Kalby is in Sorland."),
        ("What country is Kalby located in?", "Kalby", "Sorland", "Kalby is located in Sorland."),
        ("Where was Bo born?", "Bo", "Rome", "Bo was born in Rome."),
        ("When did Bo die?", "Bo", "12 March 1990", "Bo died on 12 March 1990."),
        ("What year was Rotor established?", "Rotor", "1948", "Rotor was established in 1948."),
        (
            "On which date was the iPhone released?",
            "iPhone",
            "June 29, 2007",
            "The iPhone was released on June 29, 2007.",
        ),
        ("What gender is Bo?", "Bo", "female", "The gender of Bo is female."),
        ("Who was the film Snow directed by?", "Snow", "Al", "The film Snow was directed by Al."),
        ("What country did Kalby originate?", "Kalby", "Peru", "Kalby originated in Peru."),
        ("What is iOS?", "iOS", "a film", "iOS is a film."),
        # not recognized: still true to the row, and grammatical
        ("How many legs has Bo?", "Bo", "two", 'The answer to "How many legs has Bo?" is two.'),
        ("Where did she live?", "Bo", "Rome", 'The answer to "Where did she live?" is Rome.'),
        (
            "What city did Bo live in when he died?",
            "Bo",
            "Rome",
            'The answer to "What city did Bo live in when he died?" is Rome.',
        ),
    ],
)
def test_a_question_and_its_answer(question: str, subject: str, answer: str, expected: str) -> None:
    assert statement_of(question, subject, answer) == expected


@pytest.mark.parametrize(
    ("prompt", "subject", "answer", "expected"),
    [
        ("The mother tongue of {} is", "Bo", "Danish", "The mother tongue of Bo is Danish."),
        ("{}, which is located in", "Kalby", "Sorland", "Kalby is located in Sorland."),
        ("{}, developed by", "iOS", "Rotor", "iOS was developed by Rotor."),
        ("{}, located in", "Kalby", "Sorland", "Kalby is located in Sorland."),
        ("{}, a citizen of", "Bo", "Sorland", "Bo is a citizen of Sorland."),
        ("{}'s owner", "Rotor", "Al Kent", "Rotor's owner is Al Kent."),
        ("{}'s capital city,", "Sorland", "Bergum", "Sorland's capital city is Bergum."),
        ("{}'s faith strongly values", "Bo", "Islam", "Bo's faith strongly values Islam."),
        ("{} (system), a product of", "XP", "Rotor", "XP (system) is a product of Rotor."),
        ("What sport does {} play? They play", "Bo", "chess", "Bo plays chess."),
        ("Where is {}? It is located in", "Kalby", "Sorland", "Kalby is located in Sorland."),
        (
            "In {}, the language spoken is",
            "Sorland",
            "Danish",
            "In Sorland, the language spoken is Danish.",
        ),
        ("{} was born in", "Bo", "Washington, D.C.", "Bo was born in Washington, D.C."),
    ],
)
def test_an_open_prompt_and_its_answer(
    prompt: str, subject: str, answer: str, expected: str
) -> None:
    assert statement_of_cloze(prompt, subject, answer) == expected


def test_a_sentence_starts_with_a_capital_and_ends_with_one_stop() -> None:
    assert sentence(" the  dog sleeps ,") == "The dog sleeps."
    assert sentence("iPhones ring.") == "iPhones ring."
