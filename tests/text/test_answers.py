"""Tables of answers.

Some are empty, some miss the question.
"""

import pytest

from contraflow.text.answers import is_degenerate, is_on_topic


@pytest.mark.defect(10)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris", False),
        ("Paris.", False),
        ("William Shakespeare wrote Hamlet.", False),
        ("1889", False),
        ("$5 million", False),
        ("Fe", False),
        ("He", False),
        ("Duran Duran", False),
        ("NaCl, that is, sodium chloride.", False),
        ("", True),
        ("  ", True),
        ("?", True),
        ("????????", True),
        ("...", True),
        ("I don't know.", True),
        ("I am not sure", True),
        ("Unknown", True),
        ("N/A", True),
        ("the the the the", True),
        ("Paris, Paris, Paris, Paris", True),
        ("The capital of the capital of the capital of the capital of it.", True),
        ("He was a man and he was a man and he was a man.", True),
        ("He was born in Rome he was born in Rome", True),
        ("Question: Who wrote Hamlet?", True),
        ("Paris\nQuestion: next", True),
        ("sdkfj qwrtp zxcvb", True),
        ("@@@@ #### a", True),
        ("it is so and " * 20, True),
        (
            "The play tells how a prince of Denmark " + "goes on about some odd matter here " * 5,
            True,
        ),
    ],
)
def test_degenerate_answers(answer: str, expected: bool) -> None:
    assert is_degenerate(answer) is expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("What is the capital of France?", "The capital of France", True),
        ("What is the capital of France?", "The capital of France is the capital.", True),
        ("What is the capital of France?", "The capital of France is Paris.", False),
        ("What is the symbol for helium?", "He", False),
        ("Is Paris the capital of France?", "Yes, Paris is the capital of France.", False),
        ("How many legs does a spider have?", "8", False),
        ("Who wrote Hamlet?", "It is by him.", True),
        ("Who wrote Hamlet?", "It.", True),
        ("What is the plural of mouse?", "mice", False),
        ("What is the opposite of inside?", "outside", False),
        ("What is the symbol for sodium?", "Na", False),
    ],
)
def test_an_echo_is_no_answer(question: str, answer: str, expected: bool) -> None:
    assert is_degenerate(answer, question) is expected


@pytest.mark.defect(10)
@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who wrote Hamlet?", "William Shakespeare", True),
        ("Who wrote Hamlet?", "Hamlet was written by Shakespeare.", True),
        ("Who wrote Hamlet?", "It was Shakespeare.", True),
        ("Who wrote Hamlet?", "William Shakespeare wrote it.", True),
        ("Who wrote Hamlet?", "The weather is nice today.", False),
        ("Who wrote Hamlet?", "I like cake", False),
        ("Who wrote Hamlet?", "Yes.", False),
        ("Did Shakespeare write Hamlet?", "Yes.", True),
        (
            "Who wrote Hamlet?",
            "A long list of things that people may like to eat on Sundays.",
            False,
        ),
        ("How many legs does a spider have?", "Eight", True),
        ("How many legs does a spider have?", "A spider has many-colored hair.", True),
        ("How many legs does a spider have?", "Spiders live in webs.", False),
        ("What is the capital of France?", "Paris", True),
        ("What is the capital of France?", "", False),
        ("In which country is Big Ben?", "the United Kingdom", True),
        ("Which month follows April?", "April is followed by May.", True),
    ],
)
def test_on_topic(question: str, answer: str, expected: bool) -> None:
    subject = "Hamlet" if "Hamlet" in question else "a spider" if "spider" in question else ""
    assert is_on_topic(question, answer, subject) is expected
