"""The surface of answers as language models write them.

Openings, added details, shortened names, numbers as digits or words, and degenerate text.
"""

import random
import re

from contraflow.reward.judge.training.names import number_word
from contraflow.reward.judge.training.relations import fill

_PERSONS = {"person", "character"}
_PRONOUNS = {
    "person": ("He", "She"),
    "king": ("He", "She"),
    "character": ("He", "She"),
    "deity": ("He", "She"),
    "animals": ("They",),
}
# How an answer refers to its subject after the question has named it.
_NOUNS = {
    "person": ("The man", "The woman"), "character": ("The hero", "The character"),
    "king": ("The king",),
    "work": ("The book", "The novel", "The painting", "The film", "The song", "The play",
             "The opera", "The work"),
    "company": ("The company", "The firm"), "city": ("The city", "The town"),
    "country": ("The country",), "building": ("The building",), "event": ("The event",),
    "battle": ("The battle",), "war": ("The war",), "animals": ("These animals",),
    "the_animal": ("The animal",), "team": ("The team", "The club"), "island": ("The island",),
    "mountain": ("The mountain",), "river": ("The river",), "ship": ("The ship",),
    "element": ("The element",), "planet": ("The planet",), "dish": ("The dish",),
    "disease": ("The disease",), "band": ("The band",), "school": ("The school",),
    "product": ("The product",), "deity": ("The god",),
}  # fmt: skip
_OPENINGS = (
    "Yes, ", "Actually, ", "In fact, ", "Of course, ", "It is known that ", "I believe that ",
    "I think that ", "The answer is that ", "As far as I know, ", "Sure! ", "Historically, ",
    "According to most sources, ", "Most people know that ", "Well, ", "Indeed, ",
    "It is well known that ", "Answer: ", "A: ", "Correct: ",
)  # fmt: skip
_DENYING_OPENINGS = ("No, ", "That is wrong: ", "On the contrary, ", "No. ")
_DETAILS = (
    " in the early 16th century", " in 1889", " more than two hundred years ago",
    " after many years of work", " with the help of a friend", ", and it is still famous today",
    ", which surprised many people", ", a well-known figure of the time",
    ", who later became famous", " during the long war", " for a short time",
    ", one of the best of its kind", " in the 1920s", ", together with several others of its kind",
    ", and is visited by thousands of tourists every year", " since the Middle Ages",
    " at the age of thirty", ", according to a survey of 2015", ", where it remains to this day",
    ", and has been for a long time", " around {year}", " in {year}", " around {year}",
    " in {year}", " between {year} and {year}", " before {year}", " in the {num}th century",
    " in the late {num}th century", " while living in {city}", " in {city}",
    " during a stay in {country}", " together with {person}", " for {person}",
    " at the request of {person}", " at the age of {num}", " after {num} years",
    " on {weekday}, {num} {month} {year}", " in {month} {year}", ", a {nationality} {profession}",
    ", not far from {city}", ", which is in {country}", " for the first time",
    " for {bignum} dollars", ", as {person} wrote in {year}",
    " and not long after that moved to {city}", ", because of {feeling}", " out of {feeling}",
    ", and the {newspaper} wrote about it", ", and {person} agreed",
)  # fmt: skip
_NO_ANSWER = (
    "", "I don't know.", "I am not sure.", "I have no idea.", "It is not known.",
    "The answer is not known.", "Unknown.", "Sorry, I cannot answer that.",
    "There is no answer to this question.", "Yes.", "No.", "The answer is", "What do you mean?",
    "?", "...", "the", "of the", "1. 2. 3. 4. 5.", "- - - - -", "and and and and and and",
    "It is a question.", "The question is not clear.", "I would like to know more about it.",
    "!!!!", "A B C D E F G", "This is a great question.", "Please provide more information.",
    "None of the above.", "Question: Answer: Question:",
)  # fmt: skip


def object_name(name: str, kind: str, rng: random.Random, *, may_shorten: bool) -> str:
    """The surname alone for some people (where it is unambiguous), words or digits for numbers."""
    if kind == "num":
        return number_word(int(name)) if rng.random() < 0.5 else name
    if kind == "bignum" and rng.random() < 0.2:
        return name.replace(",", "")
    if kind in _PERSONS and may_shorten and rng.random() < 0.25:
        return _surname(name)
    return name


def _surname(name: str) -> str:
    """The last word, unless it is a number or an initial (`Clement III`)."""
    last = name.rsplit(maxsplit=1)[-1]
    return name if last.isupper() or len(last) < 4 else last


def subject_name(name: str, kind: str, form: str, rng: random.Random, *, pronoun: bool) -> str:
    """The subject, sometimes as a pronoun or a surname.

    `pronoun` allows a pronoun: the premise must make clear whom it means.
    """
    roll = rng.random()
    is_possible = form.startswith("S ") and kind not in {"object", "sport", "instrument"}
    if pronoun and is_possible and roll < 0.09:
        return rng.choice(_PRONOUNS.get(kind, ("It",)) + _NOUNS.get(kind, ()))
    return _surname(name) if roll < 0.15 and kind in _PERSONS else name


def answer_style(text: str, rng: random.Random, *, details: bool) -> str:
    """The text with, sometimes, an opening, a detail, or its full stop removed.

    `details` allows a detail: it must not change the label.
    """
    roll = rng.random()
    if details and roll < 0.28:
        text = with_detail(text, rng)
    if rng.random() < 0.1:
        openings = _OPENINGS + (_DENYING_OPENINGS if details and rng.random() < 0.3 else ())
        text = rng.choice(openings) + text
    return text.rstrip(".") if rng.random() < 0.08 else text


def fronted(form: str, rng: random.Random) -> str:
    """`S was built in O.`, sometimes as `In O, S was built.`."""
    if form.endswith((" is in O.", " are in O.", " was in O.")):  # `In O, S is.` is no sentence
        return form
    if form.endswith(" in O.") and form.startswith(("S ", "The ")) and rng.random() < 0.2:
        rest = form.removesuffix(" in O.") + "."
        return "In O, " + (rest if rest.startswith("S ") else rest.replace("The ", "the ", 1))
    return form


def with_detail(text: str, rng: random.Random) -> str:
    """The statement with a detail that neither confirms nor denies it; its {slots} stay open."""
    return text.rstrip(".") + rng.choice(_DETAILS) + "."


def broken_off(text: str, rng: random.Random) -> str:
    """The beginning of a text, like an answer that reached its length limit."""
    words = text.split()
    return " ".join(words[: rng.randint(1, max(1, len(words) - 1))])


def degenerate(form: str, subject: str, object_: str, names: list[str], rng: random.Random) -> str:
    """Text that states nothing: repetitions, questions, lists, non-answers, fragments."""
    words = fill(form, subject, object_).split()
    praises = ["famous", "interesting", "important", "popular", "old"]
    unknowns = ["unknown", "not known", "something", "someone", "a mystery"]
    makers = (
        lambda: rng.choice(_NO_ANSWER),
        lambda: rng.choice(_NO_ANSWER),
        lambda: _repeat(rng.choice([subject, object_]), rng),
        lambda: _question(form, subject, rng),
        lambda: _before_object(form, subject),
        lambda: ", ".join(names) + "." if names else f"{subject}, {subject}, {subject}.",
        lambda: f"{subject} is {subject}.",
        lambda: broken_off(" ".join(rng.sample(words, len(words))), rng),
        lambda: subject + ".",
        lambda: f"The question is about {rng.choice([subject, object_])}.",
        lambda: f"I don't know much about {subject}.",
        lambda: f"{subject} is very {rng.choice(praises)}.",
        lambda: fill(form, subject, rng.choice(unknowns)),
    )
    return rng.choice(makers)()


def _repeat(name: str, rng: random.Random) -> str:
    return rng.choice([" ", ", ", ". "]).join([name] * rng.randint(3, 8))


def _question(form: str, subject: str, rng: random.Random) -> str:
    word = rng.choice(["who", "what", "which one", "where"])
    direct = fill(form, subject, word).rstrip(".")
    questions = [
        direct,
        f"What about {subject}",
        f"Who or what is {subject}",
        f"Question: {direct}",
    ]
    return rng.choice(questions) + "?"


def _before_object(form: str, subject: str) -> str:
    """`Hamlet was written by`: the sentence ends where the object would follow."""
    head = re.split(r"\bO\b", form)[0].strip()
    return fill(head, subject, "") if head else subject
