"""Questions of the sampler and of people, sorted by hand: those of one group ask for one thing.

Of a question that asks for two things the first one counts. Questions without sense are alone.
`SORTED` is what the distances of modes were chosen on, `HELD_OUT` was sorted before and not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import comb

Groups = tuple[tuple[str, ...], ...]

SORTED: dict[str, Groups] = {
    "Facebook": (
        (
            "Who founded Facebook?",
            "Who started Facebook?",
            "Who set up the company Facebook?",
            "Who created Facebook and when?",
            "What is the founder of Facebook?",
            "What's the founder of Facebook?",
            "Who was Facebook's founder?",
            "Who is Facebook founder?",
            "Who was the founder of Facebook?",
            "Who founded Facebook and why?",
            "Who founded Facebook and what is Facebook currently?",
            "Who founded Facebook, and what was its founder's role?",
        ),
        ("When does the founder of Facebook originate from?",),
    ),
    "BMW": (
        (
            "Which country is the company BMW from?",
            "What is the home country of BMW?",
            "From which country did BMW come?",
        ),
        ("Where is BMW based?", "Where is BMW operated?"),
        ("Where is BMW from?",),
        ("What is the company M.S.BMW, and where is BMW from?",),
    ),
    "The Starry Night": (
        (
            "Which artist painted The Starry Night?",
            "Whose painting is The Starry Night?",
            "Who painted The Starry Night?",
            "Who was the starry night painted by?",
            "Who painted the Starry Night, and when?",
        ),
        ("What specific painting is The Starry Night?", "What is the Starry Night painting?"),
        ("What was the Starry Night painted?",),
        ("What painting did The Starry Night originally depict?",),
        ("What art movement was The Starry Night created by?",),
    ),
    "Friedrich Nietzsche": (
        (
            "What was the nationality of Friedrich Nietzsche?",
            "Which nationality did Friedrich Nietzsche have?",
            "What nationality was Friedrich Nietzsche?",
            "What nationality does Friedrich Nietzsche belong to?",
            "What nationality is Friedrich Nietzsche from?",
            "What nationality is Friedrich Nietzsche worn?",
            "What nationality does Friedrich Nietzsche originate from?",
        ),
        ("Who is Friedrich Nietzsche?", "Who was Friedrich Nietzsche?"),
        ("When was Friedrich Nietzsche born into what nationality?",),
        ("Which human is Friedrich Nietzsche based on?",),
    ),
    "Tampa": (
        ("In which U.S. state is Tampa?", "What state is Tampa?", "What is Tampa's state?"),
        ("Where in America is Tampa?", "Where is Tampa located?", "What is Tampa's location?"),
        (
            "What is the city of Tampa called?",
            "What is the city of Tampa referred to in Tampa?",
            "What is the city in Tampa called?",
        ),
        ("What city do Tampa be in?", "What city does Tampa belong to?"),
        ("What city is Tampa married to?",),
        ("What is the city of Tampa named after?",),
        ("What is Tampa do?",),
        ("What is the state capital of Tampa?",),
        ("What is Tampa about?",),
    ),
    "Apple": (
        ("Who founded Apple?", "Who started the company Apple?", "Who is the founder of Apple?"),
        ("When was Apple founded?", "In what year was Apple founded?"),
        ("Where is Apple based?", "In which city does Apple have its headquarters?"),
        ("Who runs Apple?", "Who is the head of Apple?"),
        ("What does Apple make?", "Which products does Apple sell?"),
    ),
    "Kenya": (
        ("What is the capital of Kenya?", "Which city is the capital of Kenya?"),
        ("Which languages are spoken in Kenya?", "What languages do people speak in Kenya?"),
        ("Where is the Kenyan parliament located?",),
        ("What is the currency of Kenya?", "Which money do people in Kenya pay with?"),
    ),
}

HELD_OUT: dict[str, Groups] = {
    "Othello": (
        (
            "Which author wrote Othello?",
            "Who is Othello by?",
            "By whom was Othello written?",
            "Who is the author of Othello?",
            "What is the author of Othello?",
            "Who is Othello written by?",
        ),
        ("Who is Othello?",),
        ("What nationality does Othello belong to?",),
        ("Who is Othello the movie?",),
    ),
    "Acropolis": (
        (
            "Which city is home to the Acropolis?",
            "Which city do you visit to see the Acropolis?",
            "What city does the Acropolis belong to?",
            "What city is the Acropolis located?",
        ),
        (
            "Where is the Acropolis?",
            "Where is the Acropolis located?",
            "What is the Acropolis located?",
            "Where is the Acropolis found?",
            "Where is the Acropolis, specifically?",
        ),
        ("What is the city of Acropolis?",),
    ),
    "Alhambra": (
        ("In which country is the Alhambra?", "Which country do you visit to see the Alhambra?"),
        (
            "Where is the Alhambra?",
            "What is the location of the Alhambra?",
            "Where is Alhambra located?",
            "What is the Alhambra's location?",
            "What location does the Alhambra belong to?",
        ),
        ("What city is the Alhambra located in?",),
        ("Are the Alhambra Casas in Europe?",),
        ("What is the Alhambra and other Old Spanish ruins like?",),
        ("When is the Alhambra located?",),
        ("Is the Alhambra in the Islamic world?",),
        ("What is the Alhambra?",),
    ),
    "Canada": (
        (
            "What is the capital city of Canada?",
            "Which city is the seat of government of Canada?",
            "In which city is the capital of Canada?",
            "What is Canada's capital?",
            "What is the capital city of Canada called?",
            "Which capital city is Canada?",
            "Who is the capital city of Canada?",
        ),
        ("Where is the capital city of Canada?", "Where is Canada's capital located?"),
        ("What city in Canada is Canada?",),
        ("What city is Canada located?",),
    ),
    "A Midsummer Night's Dream": (
        (
            "Which author wrote A Midsummer Night's Dream?",
            "Which writer do we owe A Midsummer Night's Dream to?",
            "By whom was A Midsummer Night's Dream written?",
            "Who is the author of A Midsummer Night's Dream?",
            "What is the name of the author of A Midsummer Night's Dream?",
            "Who wrote a Midsummer Night's Dream?",
        ),
        ("When did A Midsummer Night's Dream happen?",),
        ("Who is A Midsummer Night's Dream?", "Who was A Midsummer Night's Dream?"),
        ("What is a Midsummer Night's Dream?", "What is the Midsummer Night's Dream?"),
    ),
    "Microsoft": (
        ("Who founded Microsoft?", "By whom was Microsoft started?"),
        ("When was Microsoft founded?", "Which year did Microsoft begin in?"),
        ("Where does Microsoft have its headquarters?", "In what city is Microsoft based?"),
        ("Who leads Microsoft today?", "Who is the chief executive of Microsoft?"),
    ),
    "Marie Curie": (
        ("In which city was Marie Curie born?", "What city was Marie Curie born in?"),
        ("Which prizes did Marie Curie win?", "What prizes were won by Marie Curie?"),
        ("When was Marie Curie born?", "What is Marie Curie's date of birth?"),
        ("Who was Marie Curie married to?", "Who was the husband of Marie Curie?"),
    ),
}


def adjusted_rand(labels: Sequence[int], others: Sequence[int]) -> float:
    """Adjusted Rand index of two partitions (Hubert and Arabie 1985): 1 if equal, 0 by chance."""
    both = sum(comb(n, 2) for n in Counter(zip(labels, others, strict=True)).values())
    first = sum(comb(n, 2) for n in Counter(labels).values())
    second = sum(comb(n, 2) for n in Counter(others).values())
    chance = first * second / comb(len(labels), 2)
    most = (first + second) / 2
    return 1.0 if most == chance else (both - chance) / (most - chance)


def mean_index(
    subjects: Mapping[str, Groups], label: Callable[[list[str], str], Sequence[int]]
) -> float:
    """The mean index over subjects; label: from texts and their subject to modes."""
    found = []
    for subject, groups in subjects.items():
        texts = [text for group in groups for text in group]
        sorted_by_hand = [i for i, group in enumerate(groups) for _ in group]
        found.append(adjusted_rand(label(texts, subject), sorted_by_hand))
    return sum(found) / len(found)
