"""A phrase is found in a text whatever its case, accents and apostrophes."""

import unicodedata

import pytest

from contraflow.text.answers import is_degenerate
from contraflow.text.folding import caseless, fold, spans_of
from contraflow.text.match import mentions
from contraflow.text.questions import is_well_formed, leaks_answer, question_is_sound
from contraflow.text.tokens import normalize, words
from contraflow.text.verdict import AnswerVerdict, answer_verdict, strict_success
from contraflow.text.words import without_phrase

ATLETICO = "Atl\u00e9tico Madrid"


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ATLÉTICO", "atletico"),
        (decomposed("Atlético"), "atletico"),
        ("Đặng Straße Tromsø Þór", "dang strasse tromso thor"),
        ("\u01fdr", "aer"),  # æ with an accent
        ("Hawai\u02bbi \u2013 Côte d\u2019Ivoire", "hawai'i - cote d'ivoire"),
        ("ＡＢ\u00a012", "ab 12"),
        ("½ m² …", "½ m² …"),  # no letters: `tokens` reads them
    ],
)
def test_fold(text: str, expected: str) -> None:
    assert fold(text) == expected


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("Where is Malaga CF?", "Málaga CF", ["Malaga CF"]),
        (decomposed("Where is Málaga?"), "Málaga", [decomposed("Málaga")]),
        ("Where is Málaga?", decomposed("Málaga"), ["Málaga"]),
        ("MÁLAGA or malaga", "Málaga", ["MÁLAGA", "malaga"]),
        (decomposed("Bogotá"), "Bogota", [decomposed("Bogotá")]),  # with the mark at its end
        ("in Weissstrasse", "Weißstraße", ["Weissstrasse"]),
        ("McDonald's here", "McDonald\u2019s", ["McDonald's"]),
        ("the New\n York", "New York", ["New\n York"]),
        ("Malagan wine", "Málaga", []),
        ("straße", "stras", []),  # ends within a letter
        ("anything", " \u200b", []),
    ],
)
def test_spans(text: str, phrase: str, expected: list[str]) -> None:
    assert [text[span] for span in spans_of(phrase, text)] == expected


@pytest.mark.parametrize("form", [ATLETICO, decomposed(ATLETICO), "Atletico Madrid"])
@pytest.mark.parametrize("named", [ATLETICO, decomposed(ATLETICO)])
def test_a_subject_is_replaced_in_any_spelling(form: str, named: str) -> None:
    assert without_phrase(f"Is {form} good?", named) == "Is Something good?"


@pytest.mark.parametrize("form", [ATLETICO, decomposed(ATLETICO), "Atletico Madrid"])
def test_a_subject_gives_away_no_answer_in_any_spelling(form: str) -> None:
    fact = (ATLETICO, "Madrid", "Rome")
    question = f"In which city is {form} based?"
    assert not leaks_answer(question, "Madrid", "Rome", (), ATLETICO)
    assert question_is_sound(question, *fact)
    names = {"original_answer": "Madrid", "edited_answer": "Rome"}
    answer = f"{form} is based in Rome."
    assert answer_verdict(question, answer, ATLETICO, **names) is AnswerVerdict.NEW


def test_a_strange_subject_without_its_accent_is_one_word() -> None:
    assert is_well_formed("Who founded Yahoo! Bogota?", "Yahoo! Bogotá")


def test_what_a_question_says_is_not_asserted_without_accents() -> None:
    """Asked about José Martí, "Jose Marti was taught by Mendive." only says his name again."""
    names = {"original_answer": "José Martí", "edited_answer": "Rubén Darío"}
    question = "Who taught José Martí, the author of Versos sencillos?"
    answer = "The teacher of Jose Marti, the author of Versos sencillos, was Mendive."
    verdict = answer_verdict(question, answer, "Versos sencillos", **names)
    assert verdict is AnswerVerdict.OTHER


def test_every_latin_letter_folds_as_in_the_words_of_a_text() -> None:
    letters = [chr(code) for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))]
    letters = [letter for letter in letters if letter.isalpha()]
    assert len(letters) > 500
    # "ŀ" is an l and a point, at which a word ends.
    assert {c: fold(c).rstrip("·") for c in letters} == {c: words(c)[0].casefold() for c in letters}


def test_an_accented_ligature_is_two_letters() -> None:
    assert normalize("\u01fdr") == normalize(decomposed("\u01fdr")) == "aer"


@pytest.mark.parametrize("quoted", ['"{}"', "\u201c{}\u201d", "\u201e{}\u201c", "\u00ab{}\u00bb"])
def test_the_form_of_quotes_changes_no_match(quoted: str) -> None:
    """A quoted "May I" opens a sentence in any quotes and names no month; -5 keeps its sign."""
    assert not mentions(f"It is so. {quoted.format('May I go')}", "May")
    assert mentions(quoted.format("-5"), "-5") and not mentions(quoted.format("-5"), "5")


@pytest.mark.parametrize("end", ['"', "\u201d", "'", "\u2019"])
def test_a_long_answer_may_end_with_any_quote(end: str) -> None:
    long = " ".join(f"{a}{b}le" for a in "bdfglm" for b in ("a", "e", "i", "o", "u", "ai"))
    assert len(long.split()) > 30
    assert is_degenerate(f"It says {long} and")
    assert not is_degenerate(f"It says {long}.{end}")


def test_caseless_names_have_one_form() -> None:
    assert caseless(decomposed("Málaga")) == caseless("MÁLAGA") == "málaga"


def test_strict_success_needs_the_answer_and_not_its_alias_alone() -> None:
    fact = ("Hamlet", "", "Marlowe", ("Shakespeare",))
    assert not strict_success("Who wrote Hamlet?", "Shakespeare.", *fact)
