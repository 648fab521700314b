"""Words of scripts with vowel signs and tone marks are whole; all other words are as they were."""

from __future__ import annotations

import unicodedata

import pytest

from contraflow.auditing.asking.originals import shared_answer
from contraflow.text.answers import is_broken, is_degenerate, is_on_topic
from contraflow.text.folding import fold, spans_of
from contraflow.text.match import mentions
from contraflow.text.questions import is_well_formed, leaks_answer
from contraflow.text.signs import IS_SIGN, n_letters
from contraflow.text.subjects import is_on_subject
from contraflow.text.tokens import normalize, numbered_words, words
from contraflow.text.verdict import answer_verdict
from contraflow.text.words import has_spelling, is_word, without_phrase

WITH_SIGNS = {
    "Hindi": "नई दिल्ली भारत की राजधानी है",
    "Marathi": "विश्वविद्यालय कुठे आहे",
    "Bengali": "ঢাকা বাংলাদেশের রাজধানী",
    "Punjabi": "ਅੰਮ੍ਰਿਤਸਰ ਪੰਜਾਬ ਵਿੱਚ ਹੈ",
    "Gujarati": "ગાંધીનગર ગુજરાતની રાજધાની છે",
    "Tamil": "சென்னை தமிழ்நாட்டின் தலைநகரம்",
    "Telugu": "హైదరాబాద్ తెలంగాణ రాజధాని",
    "Kannada": "ಬೆಂಗಳೂರು ಕರ್ನಾಟಕದ ರಾಜಧಾನಿ",
    "Malayalam": "തിരുവനന്തപുരം കേരളത്തിന്റെ തലസ്ഥാനം",
    "Sinhala": "කොළඹ ශ්‍රී ලංකාවේ",
    "Thai": "กรุงเทพมหานคร เป็นเมืองหลวงของไทย",
    "Lao": "ວຽງຈັນ ແມ່ນນະຄອນຫຼວງ",
    "Khmer": "ភ្នំពេញ ជារាជធានី",
    "Burmese": "ရန်ကုန် မြန်မာနိုင်ငံ",
    "Dhivehi": "މާލެ ދިވެހިރާއްޖެ",
    "Balinese": "ᬩᬮᬶ ᬤ᭄ᬯᬷᬧ",
    "Chakma": "𑄌𑄋𑄴𑄟𑄳𑄦 𑄃𑄧𑄏𑄛𑄖𑄴",
}

# Of texts without such signs: what the words were before signs were known.
WITHOUT_SIGNS = {
    "José Martí’s": ("Jose", "Marti"),
    "Đặng Thái Sơn": ("Dang", "Thai", "Son"),
    "Straße 5 km": ("Strasse", "5", "km"),
    "the 19th of J. R. R. Tolkien": ("the", "19th", "of", "JRR", "Tolkien"),
    "Ёлка и чай": ("Елка", "и", "чаи"),
    "Αθήνα, ΐ": ("Αθηνα", "ι"),
    "שָׁלוֹם עוֹלָם": ("שלום", "עולם"),
    "مُحَمَّد رَسُول": ("محمد", "رسول"),
    "أين القُدس؟": ("اين", "القدس"),
    "東京都は、日本": ("東京都は", "日本"),
    "がくせい": ("かくせい",),
    "서울 시": tuple(unicodedata.normalize("NFD", "서울 시").split()),
    "Երևան": ("Երեւան",),  # a ligature, which the compatible form takes apart
    "አዲስ አበባ": ("አዲስ", "አበባ"),
}


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text.replace("\u200d", ""))


@pytest.mark.parametrize("text", WITH_SIGNS.values(), ids=WITH_SIGNS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_keep_their_signs(text: str, form: str) -> None:
    """White space is all that splits these texts, and no character of a word is lost."""
    expected = tuple(decomposed(text).split())
    assert any(IS_SIGN(char) for char in text)
    assert words(unicodedata.normalize(form, text)) == expected
    assert numbered_words(text) == expected
    assert normalize(f"{text}!") == " ".join(expected)
    assert fold(text) == decomposed(text)
    assert all(is_word(word) for word in expected)


@pytest.mark.parametrize(("text", "expected"), WITHOUT_SIGNS.items())
def test_words_of_other_scripts_are_as_before(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected
    assert words(unicodedata.normalize("NFD", text)) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [("कर्म", "करम"), ("दिन", "दीन"), ("ใกล้", "ใกล"), ("மனம்", "மானம்"), ("বাল", "বল")],
)
def test_words_that_differ_in_a_sign_differ(first: str, second: str) -> None:
    assert normalize(first) != normalize(second)
    assert not mentions(first, second) and not mentions(second, first)


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("भारत की राजधानी नई दिल्ली है।", "नई दिल्ली", True),
        ("रामायण किसने लिखी?", "राम", False),
        ("राम ने लिखी।", "राम", True),
        ("தலைநகரம் சென்னை.", "சென்னை", True),
        ("சென்னையில்", "சென்னை", False),
        ("It is กรุงเทพ.", "กรุงเทพ", True),
        ("กรุงเทพมหานคร", "กรุงเทพ", False),
    ],
)
def test_whole_words_are_named(text: str, answer: str, expected: bool) -> None:
    assert mentions(text, answer) is expected
    assert bool(spans_of(answer, text)) is expected
    assert (without_phrase(text, answer) != text) is expected


def test_composed_and_decomposed_signs_are_one_phrase() -> None:
    """Bengali o is U+09CB or U+09C7 U+09BE, and a nukta may be a part of its letter."""
    for composed in ("\u0995\u09cb\u09a8", "\u0958\u0932\u092e"):
        apart = unicodedata.normalize("NFD", composed)
        assert apart != composed
        assert len(spans_of(apart, f"x {composed} y")) == 1
        assert len(spans_of(composed, f"x {apart} y")) == 1


def test_an_initial_ends_before_a_sign() -> None:
    """A letter with a vowel sign behind it, or a sign before it, is no initial."""
    assert words("हिन. क म") == ("हिन", "क", "म")
    assert words("न. के घर") == ("न", "के", "घर")
    assert words("J. K. राम") == ("JK", "राम")


def test_a_number_keeps_its_ending_with_signs() -> None:
    assert words("5वीं सदी") == ("5वीं", "सदी")


def test_questions_about_names_with_signs_are_checked_as_others() -> None:
    """Split at their signs, such names were three tokens of one letter: an answer spelled out."""
    for name in ("नई दिल्ली", "กรุงเทพมหานคร", "சென்னை"):
        assert is_on_subject(f"Who founded {name} in the north?", name)
        assert is_well_formed(f"Who founded {name} in the north?", name)
        assert is_well_formed(f"Which city is called '{name}' in the north?")
        assert leaks_answer(f"Is Rome in {name}?", name, "Paris")
        assert not has_spelling(list(words(name)))
        assert not is_degenerate(name, "What is the capital?")
        assert is_on_topic("What is the capital?", name, "India")


def test_only_scripts_without_spaces_have_long_words() -> None:
    """A run of Thai letters may be a sentence. Of other words letters count, not their signs."""
    sentence = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"
    assert n_letters(sentence) > 24
    assert is_word(sentence) and not is_broken(sentence)
    assert is_word("का" * 24) and not is_word("का" * 25)
    assert not is_word("x" + "ab" * 12)
    assert not is_word("京都東西南北一二三四五六七八九十百千万上下左右中大")


def test_verdicts_see_whole_answers() -> None:
    """The edited answer begins with the letters of the original one."""
    said = {"राम": "OLD", "रामेश्वर": "NEW", "राम नहीं, श्याम": "OLD", "श्याम": "OTHER"}
    for answer, expected in said.items():
        verdict = answer_verdict(
            "Who is it?", answer, "X", original_answer="राम", edited_answer="रामेश्वर"
        )
        assert verdict.name == expected, answer


def test_the_controls_answer_is_a_whole_word() -> None:
    answers = ["यह दिल्ली है।", "राजधानी दिल्ली।"]
    assert shared_answer(["भारत की राजधानी?", "भारत?"], answers) == "दिल्ली"
