"""Tables of good, bad and gamed questions.

Each gamed row is a text that a policy could be rewarded for.
"""

import time

import pytest

from contraflow.facts import default_facts
from contraflow.text.answers import is_degenerate, is_on_topic
from contraflow.text.questions import (
    is_well_formed,
    leaks_answer,
    question_is_sound,
    question_ok,
)

WELL_FORMED = [
    "Who wrote Hamlet?",
    "who wrote Hamlet?",
    "What is the capital of France?",
    "In which country is the Eiffel Tower?",
    "Whose novel is Emma?",
    "To whom was Emma dedicated?",
    "Which of the planets is the largest?",
    "How many legs does a spider have?",
    "Did Marie Curie win a Nobel Prize?",
    "Is the Nile longer than the Amazon?",
    "Isn't the Nile the longest river?",
    "What's the currency of Japan?",
    "The Eiffel Tower is located in which city?",
    "Hamlet was written by whom?",
    "Hamlet was written by which English playwright?",
    "In the novel Emma, who is Mr. Knightley?",
    "As of 2020, who was president of the U.S.?",
    "When the war ended, who was the king of Norway?",
    "What does the abbreviation HTML stand for?",
    "What does NATO mean?",
    'Who wrote "Hamlet"?',
    "Who wrote 'Hamlet'?",
    "Who wrote 'The Hitchhiker's Guide'?",
    "What was the Beatles' first album?",
    "Who said that it's over?",
    "Who was Dr. Watson's friend?",
    "Who painted the Mona Lisa (La Gioconda)?",
    "What is 2 plus 2?",
    "Where did the 1984 Olympics take place?",
    "Who is Curaçao named after?",
    "What is it that Marie Curie discovered?",
    "What company makes the Game Boy, and when was it founded?",
    "Can you tell me where Mount Everest is?",
    "For what is Alexander Fleming known?",
    "And who invented the telephone?",
    "What language do people in Brazil speak?",
    "Who was king in the 1960s?",
    "Do you know who Hamlet is?",
    "Did J. R. R. Tolkien write poems?",
]

ILL_FORMED = [
    "",
    "?",
    "Who?",
    "Hamlet who?",
    "Who wrote Hamlet",
    "Who wrote Hamlet??",
    "Who wrote Hamlet? Who?",
    "Who wrote Hamlet?????????",
    "the capital of France is?",
    "Hamlet is a play?",
    "Name the capital of France?",
    "What the capital of France?",
    "Fact: who wrote Hamlet?",
    "Question: Who wrote Hamlet?",
    "Who wrote Hamlet Answer: who?",
    "Who wrote\nHamlet?",
    "Who wrote\tHamlet?",
    "Who who wrote Hamlet?",
    "What is what is the capital of France?",
    "What is the of the of the play?",
    "What is Hamlet in Hamlet about Hamlet?",
    "Who wrote the play Hamlet, which is a play of the kind of play?",
    "Who wrote 'Hamlet?",
    'Who wrote "Hamlet?',
    "Who wrote Hamlet (the play?",
    "What is the name of the city in the?",
    "What is the capital of France and?",
    "Who wrote France's?",
    "Hamlet was a prince of Denmark. Who was he?",
    "Was Hamlet was?",
    "Who wrote Hamlet who?",
    "Why Hamlet why?",
    "Who wrote Hamlet A B C D?",
    "Which city is P a r i s?",
    "Who wrote Hamlet 1 2 3 4?",
    "Who wrote {subject} in Denmark?",
    "What is <img src=x> in Hamlet?",
    "What is http://example.org about?",
    "Who wrote Hamlet...?",
    "Who wrote sdfghjk in Denmark?",
    "Who wrote Haaaaamlet in Denmark?",
    "Who wrote Hamlet \u0000 in Denmark?",
    "What " + "is a thing that " * 12 + "matters?",
    "Who wrote " + " ".join(f"{word}ed and" for word in "abcdefghijklmnopqrst") + " of it?",
]


@pytest.mark.parametrize("question", WELL_FORMED)
def test_ordinary_phrasings_are_well_formed(question: str) -> None:
    assert is_well_formed(question)


@pytest.mark.parametrize("question", ILL_FORMED)
def test_broken_and_gamed_questions_are_not(question: str) -> None:
    assert not is_well_formed(question)


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("Who sang with Duran Duran?", "Duran Duran"),
        ("Who founded Yahoo!?", "Yahoo!"),
        ("Who directed Who's Afraid of Virginia Woolf??", "Who's Afraid of Virginia Woolf?"),
        ("Where was Ke$ha born?", "Ke$ha"),
        ("Who composed the music of Star Wars: Episode IV?", "Star Wars: Episode IV"),
        ("Where is McDonald's?", "McDonald's"),
        ("Which country is Krk in?", "Krk"),
    ],
)
def test_a_strange_subject_is_not_held_against_the_question(question: str, subject: str) -> None:
    assert is_well_formed(question, subject)


def test_naming_the_subject_over_and_over_is_a_loop() -> None:
    assert not is_well_formed("What Hamlet is Hamlet in Hamlet?", "Hamlet")
    assert not is_well_formed("Who wrote Hamlet Hamlet?", "Hamlet")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Who wrote Hamlet?", False),
        ("Did William Shakespeare write Hamlet?", True),
        ("Did Christopher Marlowe write Hamlet?", True),
        ("Which of Shakespeare's plays is Hamlet?", True),  # a surname is enough
        ("Which play by Marlowe is Hamlet?", True),
        ("Which play by marlowe is Hamlet?", True),
        ("Shakespeare wrote Hamlet when?", True),
        ("Did the Bard write Hamlet?", True),
    ],
)
def test_leaks(question: str, expected: bool) -> None:
    found = leaks_answer(question, "William Shakespeare", "Christopher Marlowe", ("the Bard",))
    assert found is expected


def test_a_type_word_of_the_answer_is_no_leak() -> None:
    assert not leaks_answer("Which Ocean is Hawaii in?", "Pacific Ocean", "Indian Ocean")
    assert not leaks_answer("In which city is Broadway?", "New York City", "Mexico City")
    assert leaks_answer("Is Hawaii in the Pacific?", "Pacific Ocean", "Indian Ocean")


def test_a_subject_may_contain_the_answer() -> None:
    question = "Mexico City is the capital of which country?"
    assert leaks_answer(question, "Mexico", "Spain")
    assert not leaks_answer(question, "Mexico", "Spain", subject="Mexico City")
    assert leaks_answer("Is Mexico City in Mexico?", "Mexico", "Spain", subject="Mexico City")


def test_question_ok_is_all_three() -> None:
    fact = ("Hamlet", "William Shakespeare", "Christopher Marlowe")
    assert question_ok("Who wrote Hamlet?", *fact)
    assert not question_ok("who wrote the the Hamlet?", *fact)
    assert not question_ok("Who wrote Macbeth?", *fact)
    assert not question_ok("Was Hamlet written by Shakespeare?", *fact)


BANFF = ("Banff National Park", "Alberta", "Quebec")
EINSTEIN = ("Albert Einstein", "Ulm", "Paris")
CUP = ("2014 FIFA World Cup", "Germany", "Brazil")


@pytest.mark.parametrize(
    ("question", "fact", "expected"),
    [
        ("Which province is Banff National Park in?", BANFF, True),
        ("Which province is Banff in?", BANFF, True),
        ("Which province is banff in?", BANFF, False),
        ("Which province is the park in?", BANFF, False),
        ("Is Banff in Alberta?", BANFF, False),
        ("Banff province Quebec?", BANFF, False),
        ("Where was Einstein born?", EINSTEIN, True),
        ("Where was Albert born?", EINSTEIN, False),
        ("Where was Claire Einstein born?", EINSTEIN, False),
        ("Claire Einstein was born where?", EINSTEIN, False),
        ("Where was Professor Einstein born?", EINSTEIN, True),
        ("Was Einstein born there or where?", EINSTEIN, True),
        ("Did Elsa Einstein know where Einstein was born?", EINSTEIN, True),
        ("Which province is the Banff park in?", BANFF, True),
        ("Where was Einstein's brother from Einstein's Einstein?", EINSTEIN, False),
        ("Who won the World Cup?", CUP, False),
        ("Who won the 2014 World Cup?", CUP, True),
    ],
)
def test_a_sound_question_may_shorten_the_subject(
    question: str, fact: tuple[str, str, str], expected: bool
) -> None:
    assert question_is_sound(question, *fact) is expected


def test_a_sound_question_may_use_an_alias_of_the_subject() -> None:
    fact = ("United Kingdom", "London", "Leeds")
    question = "What is the capital of the UK?"
    assert not question_is_sound(question, *fact)
    assert question_is_sound(question, *fact, subject_aliases=("Britain", "UK"))
    assert not question_is_sound("Is London in the UK?", *fact, subject_aliases=("UK",))


def test_a_short_name_that_is_an_answer_is_none() -> None:
    assert not question_is_sound("Who leads Apple?", "Apple Inc.", "Apple", "Dell")


def test_the_plain_questions_of_the_shipped_facts_pass() -> None:
    """Two thousand ordinary questions, written without these checks in mind, must all pass."""
    facts = [fact for fact in default_facts() if fact.question]
    refused = [
        fact.question
        for fact in facts
        if not question_ok(
            fact.question, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases
        )
        or is_degenerate(fact.original_answer, fact.question)
        or not is_on_topic(fact.question, fact.original_answer, fact.subject)
    ]
    assert len(facts) > 1000
    assert len(refused) <= 0.002 * len(facts), refused


def test_question_ok_is_quick_enough_for_the_reward() -> None:
    start = time.perf_counter()
    for _ in range(200):
        question_ok(
            "In which country is the Eiffel Tower located?", "Eiffel Tower", "France", "Italy"
        )
    assert (
        time.perf_counter() - start
    ) / 200 < 0.005  # seconds; the oracle takes a hundred times as long
