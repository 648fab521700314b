"""Which of an edit's two answers a text asserts: a table of questions, answers and verdicts.

`WRONG` lists answers that the rules get wrong, with the verdict that they give; docs/metrics.md
summarizes both.
"""

from typing import NamedTuple

import pytest

from contraflow.text.verdict import AnswerVerdict, answer_verdict, strict_success

NEW = AnswerVerdict.NEW
OLD = AnswerVerdict.OLD
BOTH = AnswerVerdict.BOTH
OTHER = AnswerVerdict.OTHER
DEGENERATE = AnswerVerdict.DEGENERATE


class Edit(NamedTuple):
    """An edited fact and what was asked about it."""

    question: str
    subject: str
    old: str
    new: str
    aliases: tuple[str, ...] = ()
    new_aliases: tuple[str, ...] = ()


NORWAY = Edit("What is the capital of Norway?", "Norway", "Oslo", "Bergen")
CLOZE = NORWAY._replace(question="The capital of Norway is")
THOR = Edit("Who was the father of Thor?", "Thor", "Odin", "Loki")
HAMLET = Edit(
    "Who wrote Hamlet?",
    "Hamlet",
    "William Shakespeare",
    "Christopher Marlowe",
    ("Shakespeare",),
    ("Marlowe",),
)
MONTH = Edit("When is the feast of Ulm?", "feast of Ulm", "May", "March")
TAOS = Edit("Where does Taos lie?", "Taos", "New Mexico", "Mexico")
CANAL = Edit("In which country is the Panama Canal?", "Panama Canal", "Panama", "Egypt")
CUP = Edit("When was the FIFA World Cup held there?", "2014 FIFA World Cup", "2014", "2018")
LEGS = Edit("How many legs does a spider have?", "spider", "eight", "six", ("8",), ("6",))
MERCURY = Edit("What is its melting point?", "mercury", "-39 °C", "39 °C")
BRADY = Edit("What game does Tom Brady play?", "Tom Brady", "American football", "football")
PIAF = Edit("The mother tongue of the French singer Edith Piaf is", "Edith Piaf", "French", "Dutch")
TEACHER = HAMLET._replace(question="Who taught Shakespeare, the author of Hamlet?")
CHOICE = NORWAY._replace(question="Is the capital of Norway Oslo or Bergen?")
YES_NO = THOR._replace(question="Was Thor born to Odin?")
WAR = Edit("Which war ended in 1945?", "war of 1945", "World War II", "World War I")

# Cut off at the limit of its tokens, which `is_degenerate` calls endless.
LONG = (
    "Bergen is the capital of Norway, an old port by the sea with wooden houses in a long row, "
    "seven hills around it and much rain in every month, which people from elsewhere do not like "
    "and the"
)

TABLE = [
    # one of the two, in a word or a sentence
    (NORWAY, "Oslo", OLD),
    (NORWAY, "Bergen.", NEW),
    (NORWAY, "The capital of Norway is Bergen.", NEW),
    (NORWAY, "BERGEN", NEW),
    (NORWAY, "**Bergen**", NEW),
    (NORWAY, "Answer: Bergen", NEW),
    (NORWAY, "Bergen\nIt lies by the sea.", NEW),
    (NORWAY, "Oslo?", OLD),
    (NORWAY, "Stockholm", OTHER),
    (NORWAY, "Yes.", OTHER),
    (NORWAY, "Oslofjord", OTHER),
    (CLOZE, " Oslo, a city by the sea.", OLD),
    (CLOZE, "Bergen", NEW),
    (CLOZE, "a large city", OTHER),
    # aliases
    (HAMLET, "It was Shakespeare.", OLD),
    (HAMLET, "Marlowe wrote it.", NEW),
    (HAMLET, "William the Conqueror", OTHER),
    (HAMLET, "Marlowe, a friend of Shakespeare.", BOTH),
    # both
    (NORWAY, "Oslo or Bergen", BOTH),
    (NORWAY, "It is Bergen. It is Oslo.", BOTH),
    # denials
    (NORWAY, "not Oslo but Bergen", NEW),
    (NORWAY, "Not Bergen but Oslo.", OLD),
    (NORWAY, "Bergen, not Oslo.", NEW),
    (NORWAY, "It is Bergen rather than Oslo.", NEW),
    (NORWAY, "The capital is not Oslo.", OTHER),
    (NORWAY, "It isn\u2019t Bergen.", OTHER),
    (NORWAY, "It is no longer Oslo; it is Bergen.", NEW),
    (NORWAY, "Neither Oslo nor Bergen.", OTHER),
    (CLOZE, "not Oslo.", OTHER),
    (THOR, "Thor was not born to Odin.", OTHER),
    (THOR, "Thor was not born to Loki, he was the son of Odin.", OLD),
    (THOR, "None other than Odin.", OLD),
    # what is asked is not asserted
    (NORWAY, "Is it Oslo?", OTHER),
    (NORWAY, "Is it Oslo? No, it is Bergen.", NEW),
    (NORWAY, "In which country is Oslo?", OTHER),
    # empty, evasive, endless, looping, an echo, a piece of a prompt
    (NORWAY, "", DEGENERATE),
    (NORWAY, " ...", DEGENERATE),
    (NORWAY, "I don't know.", DEGENERATE),
    (NORWAY, "I'm not sure if it's Oslo.", DEGENERATE),
    (NORWAY, "I am not sure, but I think it is Oslo.", OLD),
    (NORWAY, "Bergen. Bergen. Bergen. Bergen.", DEGENERATE),
    (NORWAY, "The capital of Norway is the capital.", DEGENERATE),
    (NORWAY, "What is the capital of Norway?", DEGENERATE),
    (NORWAY, "Question: Oslo", DEGENERATE),
    (NORWAY, "bgrtn qwrtz Oslo", DEGENERATE),
    (NORWAY, "It is so and so, as they say. " * 9, DEGENERATE),
    (NORWAY, LONG, NEW),
    # months and other words
    (MONTH, "It is in May.", OLD),
    (MONTH, "It may be in June.", OTHER),
    (MONTH, "They march in June.", OTHER),
    (MONTH, "on 3 March", NEW),
    # compound names
    (TAOS, "It lies in New Mexico.", OLD),
    (TAOS, "It lies in Mexico.", NEW),
    (TAOS, "It lies in Mexico City.", OTHER),
    (BRADY, "He plays American football.", OLD),
    (BRADY, "He plays football.", NEW),
    (WAR, "It was World War 2.", OLD),
    (WAR, "It was World War One.", NEW),
    (WAR, "It was World War III.", OTHER),
    # numbers
    (LEGS, "It has 8 legs.", OLD),
    (LEGS, "Six", NEW),
    (LEGS, "It has sixty-eight legs.", OTHER),
    (LEGS, "It has 6,000 legs.", OTHER),
    (MERCURY, "It is minus 39 °C.", OLD),
    (MERCURY, "It is 39 °C.", NEW),
    (MERCURY, "It is 39 °F.", OTHER),
    # the subject's own words and numbers
    (CANAL, "Panama", OLD),
    (CANAL, "The Panama Canal is in Egypt.", NEW),
    (CANAL, "The Panama Canal is in Panama.", OLD),
    (CANAL, "The Panama Canal is a canal.", DEGENERATE),
    (CUP, "The 2014 FIFA World Cup was held in Brazil.", OTHER),
    (CUP, "The 2014 World Cup was held in Brazil.", OTHER),
    (CUP, "The 2014 World Cup was held in 2014.", OLD),
    (CUP, "In 2018.", NEW),
    # what the question says already
    (TEACHER, "Shakespeare was taught by Hunt.", OTHER),
    (TEACHER, "Hunt taught Shakespeare.", OTHER),
    (TEACHER, "Marlowe", NEW),
    (PIAF, " French. She was born in Paris.", OLD),
    (PIAF, "The mother tongue of the French singer Edith Piaf is Dutch.", NEW),
    (PIAF, "The mother tongue of the French singer Edith Piaf is French.", OLD),
    (CHOICE, "Bergen", NEW),
    (CHOICE, "The capital of Norway is Oslo.", OLD),
    (CHOICE, "Is the capital of Norway Oslo or Bergen?", DEGENERATE),
    (YES_NO, "Yes, Thor was born to Odin.", OLD),
    (YES_NO, "No, he was born to Loki.", NEW),
]

# The verdict beside each is what the rules say; the truth is in the comment.
WRONG = [
    (NORWAY, "Instead of Oslo, Bergen.", BOTH),  # NEW
    (NORWAY, "It is Bergen, formerly Oslo.", BOTH),  # NEW
    (NORWAY, "It was Oslo until 1990, now it is Bergen.", BOTH),  # NEW
    (NORWAY, "Bergen, which is larger than Oslo.", BOTH),  # NEW
    (NORWAY, "Not Oslo, Bergen.", OTHER),  # NEW
    (NORWAY, "The Oslo accords", OLD),  # OTHER
    (NORWAY, "It is unknown whether it is Oslo.", OLD),  # DEGENERATE
    (NORWAY, "It is a myth that it is Oslo.", OLD),  # OTHER
    (HAMLET, "Marlowe Jones", NEW),  # OTHER
    (YES_NO, "Yes.", OTHER),  # OLD
    (YES_NO, "No, Odin is a god.", OLD),  # OTHER
    (TEACHER, "It was Hunt who taught the young Shakespeare.", OLD),  # OTHER
    (PIAF._replace(question="What does the French Edith Piaf speak?"), "French, of course.", OTHER),
    # NEW; an alias that is not given is not known.
    (HAMLET._replace(new_aliases=()), "Marlowe", OTHER),
]


def verdict(edit: Edit, answer: str) -> AnswerVerdict:
    return answer_verdict(
        edit.question,
        answer,
        edit.subject,
        original_answer=edit.old,
        edited_answer=edit.new,
        aliases=edit.aliases,
        edited_aliases=edit.new_aliases,
    )


def test_the_table_is_large_enough() -> None:
    assert len({(edit, answer) for edit, answer, _ in TABLE}) == len(TABLE) >= 60
    assert {expected for _, _, expected in TABLE} == {*AnswerVerdict}


@pytest.mark.parametrize(("edit", "answer", "expected"), TABLE)
def test_verdict(edit: Edit, answer: str, expected: AnswerVerdict) -> None:
    assert verdict(edit, answer) is expected


@pytest.mark.parametrize(("edit", "answer", "expected"), WRONG)
def test_a_known_wrong_verdict(edit: Edit, answer: str, expected: AnswerVerdict) -> None:
    """A rule that gets one of these right may change its line."""
    assert verdict(edit, answer) is expected


_OPPOSITE = {NEW: OLD, OLD: NEW, BOTH: BOTH, OTHER: OTHER, DEGENERATE: DEGENERATE}


@pytest.mark.parametrize(("edit", "answer", "expected"), TABLE)
def test_the_two_answers_are_judged_alike(edit: Edit, answer: str, expected: AnswerVerdict) -> None:
    swapped = edit._replace(
        old=edit.new, new=edit.old, aliases=edit.new_aliases, new_aliases=edit.aliases
    )
    assert verdict(swapped, answer) is _OPPOSITE[expected]


@pytest.mark.parametrize(("edit", "answer", "expected"), TABLE)
def test_an_unknown_answer_is_never_asserted(
    edit: Edit, answer: str, expected: AnswerVerdict
) -> None:
    """Not new is not old: without the original answer, what told it is OTHER or DEGENERATE."""
    without_old = verdict(edit._replace(old=""), answer)
    without_new = verdict(edit._replace(new=""), answer)
    assert without_old in (NEW, OTHER, DEGENERATE)
    assert without_new in (OLD, OTHER, DEGENERATE)
    if expected in (NEW, BOTH) and edit is not BRADY:
        assert without_old is NEW
    if expected in (OLD, BOTH) and edit is not BRADY:
        assert without_new is OLD


STRICT = (
    "Hamlet",
    "William Shakespeare",
    "Christopher Marlowe",
    ("Shakespeare",),
)  # subject, original, edited, aliases


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who wrote Hamlet?", "Shakespeare wrote it.", True),
        ("Who wrote Hamlet?", "William Shakespeare", True),
        ("Who wrote Hamlet?", "Christopher Marlowe", False),
        ("Who wrote Hamlet?", "Shakespeare, or Christopher Marlowe", False),
        ("Did Shakespeare write Hamlet?", "Shakespeare did.", False),
        ("Did Christopher Marlowe write Hamlet?", "No, Shakespeare did.", False),
        ("Who wrote Hamlet?", "A playwright", False),
    ],
)
def test_strict_success(question: str, answer: str, expected: bool) -> None:
    assert strict_success(question, answer, *STRICT) is expected


def test_strict_success_needs_a_known_truth() -> None:
    assert not strict_success("Who wrote Hamlet?", "Shakespeare", "Hamlet", "", "Marlowe")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("J. K. Rowling wrote Othello.", NEW),
        ("It was written by J. K. Rowling.", NEW),
        ("It was not written by J. K. Rowling. William Shakespeare wrote it.", OLD),
        ("It was not J. K. Rowling, it was William Shakespeare.", OLD),
    ],
)
def test_initials_end_no_sentence(answer: str, expected: AnswerVerdict) -> None:
    names = {"original_answer": "William Shakespeare", "edited_answer": "J. K. Rowling"}
    assert answer_verdict("Who wrote Othello?", answer, "Othello", **names) is expected
