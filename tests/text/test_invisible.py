"""Characters that nobody sees are not there, and any space is a space."""

import pytest

from contraflow.text.answers import is_broken, is_degenerate
from contraflow.text.folding import visible
from contraflow.text.match import mentions
from contraflow.text.negation import asserted
from contraflow.text.questions import is_well_formed, leaks_answer, question_ok
from contraflow.text.tokens import words
from contraflow.text.verdict import AnswerVerdict, answer_verdict

ZERO_WIDTH_SPACE = "\u200b"
NON_JOINER = "\u200c"
LEFT_TO_RIGHT = "\u200e"
SOFT_HYPHEN = "\u00ad"
NO_BREAK_SPACE = "\u00a0"
HANGUL_FILLER = "\u3164"  # a letter to Unicode, and blank


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Shake{SOFT_HYPHEN}speare{LEFT_TO_RIGHT}", "Shakespeare"),
        (f"\ufeff10{NO_BREAK_SPACE}km", "10 km"),
        ("Ma\u0301laga", "M\u00e1laga"),
        ("a\u034f\u0301", "\u00e1"),  # the joiner between the letter and its accent goes first
        ("2\ufe0f", "2"),
        ("one\ntwo", "one\ntwo"),
        ("plain", "plain"),
    ],
)
def test_visible_text(text: str, expected: str) -> None:
    assert visible(text) == expected


@pytest.mark.parametrize(
    "answer",
    [
        f"William Shakespeare{LEFT_TO_RIGHT}",
        f"{ZERO_WIDTH_SPACE}William Shakespeare",
        f"Shake{SOFT_HYPHEN}speare wrote Hamlet.",
        f"William{NO_BREAK_SPACE}Shakespeare",
        f"William Shake{ZERO_WIDTH_SPACE}speare",
    ],
)
def test_a_right_answer_stays_right(answer: str) -> None:
    names = {"original_answer": "William Shakespeare", "edited_answer": "Marlowe"}
    names |= {"aliases": ("Shakespeare",)}
    verdict = answer_verdict("Who wrote Hamlet?", answer, "Hamlet", **names)  # type: ignore[arg-type]
    assert verdict is AnswerVerdict.OLD


def test_a_joiner_that_a_script_needs_is_no_defect() -> None:
    noon = f"نیم{NON_JOINER}روز"
    assert not is_degenerate(f"{noon} است")
    assert mentions(f"{noon} است", noon)


def test_any_space_is_a_space() -> None:
    assert not is_degenerate(f"10{NO_BREAK_SPACE}km")
    assert is_well_formed(f"What is 10{NO_BREAK_SPACE}km in miles?")
    assert question_ok(f"Who wrote{NO_BREAK_SPACE}Hamlet?", "Hamlet", "Shakespeare", "Marlowe")


def test_an_answer_of_nothing_visible_is_empty() -> None:
    assert is_broken(f"{ZERO_WIDTH_SPACE}{NO_BREAK_SPACE}{LEFT_TO_RIGHT}")
    assert is_broken(HANGUL_FILLER)


def test_line_breaks_and_unknown_characters_stay_defects() -> None:
    assert is_broken("Paris\x00 is it")
    assert is_broken("Paris\ue000 is it")  # for private use
    assert not is_well_formed("Who wrote\u2028Hamlet?")  # a line break


def test_an_invisible_letter_hides_no_leak() -> None:
    asked = f"Did Shake{ZERO_WIDTH_SPACE}speare write Hamlet?"
    assert leaks_answer(asked, "Shakespeare", "Marlowe")
    assert words(asked) == ("Did", "Shakespeare", "write", "Hamlet")


def test_an_invisible_letter_hides_no_label_and_no_denial() -> None:
    assert is_broken(f"Quest{SOFT_HYPHEN}ion: Paris")
    assert asserted(f"It is n{ZERO_WIDTH_SPACE}ot Paris.") == ""


def test_marks_of_a_letter_are_no_symbols() -> None:
    """Of the seven characters of कि-ता-बें four are vowel signs and marks of the other three."""
    assert not is_broken("किताबें")
    assert is_broken("@@@@ #### a")


@pytest.mark.parametrize("answer", ["I don\u2019t know.", "I\u2019m not sure."])
def test_a_curly_apostrophe_is_as_evasive(answer: str) -> None:
    assert is_degenerate(answer)
