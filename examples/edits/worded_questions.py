"""Questions in the wordings that can be planted, for each relation; {s} is the subject.

Draws of the samplers give few of them, and planting needs several ways to ask in a wording.
"""

from __future__ import annotations

Templates = dict[str, tuple[str, ...]]

# An editor's table of paraphrases has hardly any of these.
IN_WHICH: Templates = {
    "birth_country_of_person": (
        "In which country was {s} born?",
        "In which country did the life of {s} begin?",
        "In which nation was {s} born?",
    ),
    "capital_of_country": (
        "In which city is the capital of {s}?",
        "In which city is the government of {s}?",
        "In which city does the government of {s} sit?",
    ),
    "city_of_landmark": (
        "In which city is {s}?",
        "In which city is {s} located?",
        "In which city can you find {s}?",
        "In which city can you visit {s}?",
    ),
    "country_of_city": (
        "In which country is {s}?",
        "In which country is the city of {s}?",
        "In which country is {s} located?",
        "In which nation is {s}?",
    ),
    "country_of_company": (
        "In which country is {s} based?",
        "In which country is the company {s}?",
        "In which country was {s} founded?",
        "In which country are the headquarters of {s}?",
    ),
    "country_of_dish": (
        "In which country did {s} originate?",
        "In which country was {s} invented?",
        "In which country do people eat {s}?",
    ),
    "country_of_landmark": (
        "In which country is {s}?",
        "In which country is {s} located?",
        "In which country can you find {s}?",
        "In which country can you visit {s}?",
    ),
    "city_of_team": (
        "In which city do {s} play?",
        "In which city are {s} based?",
        "In which city is the home of {s}?",
    ),
    "state_of_us_city": (
        "In which state is {s}?",
        "In which U.S. state is {s}?",
        "In which state is the city of {s}?",
        "In which state is {s} located?",
    ),
}

# About a seventh of the untrained sampler's sound questions, and 2 % of the shipped sampler's.
WHICH: Templates = {
    "author_of_book": (
        "Which author wrote {s}?",
        "Which writer wrote {s}?",
        "Which author is behind {s}?",
        "Which person wrote {s}?",
        "Which writer is the author of {s}?",
    ),
    "birth_country_of_person": (
        "Which country was {s} born in?",
        "Which country is the birthplace of {s}?",
        "Which country did {s} come from?",
        "Which country is {s} from?",
        "Which nation was {s} born in?",
    ),
    "capital_of_country": (
        "Which city is the capital of {s}?",
        "Which city is the capital city of {s}?",
        "Which city is home to the government of {s}?",
        "Which town is the capital of {s}?",
        "Which capital does {s} have?",
    ),
    "capital_of_us_state": (
        "Which city is the capital of {s}?",
        "Which city is the state capital of {s}?",
        "Which town is the capital of the state of {s}?",
        "Which capital does {s} have?",
    ),
    "city_of_landmark": (
        "Which city is {s} in?",
        "Which city is {s} located in?",
        "Which city is home to {s}?",
        "Which city has {s}?",
        "Which town is {s} in?",
    ),
    "city_of_team": (
        "Which city do {s} play in?",
        "Which city are {s} from?",
        "Which city is home to {s}?",
        "Which town do {s} play for?",
    ),
    "continent_of_country": (
        "Which continent is {s} on?",
        "Which continent is {s} in?",
        "Which continent does {s} belong to?",
        "Which part of the world is {s} in?",
    ),
    "country_of_city": (
        "Which country is {s} in?",
        "Which country is {s} located in?",
        "Which country does {s} belong to?",
        "Which country is the city of {s} in?",
        "Which nation is {s} in?",
    ),
    "country_of_company": (
        "Which country is {s} from?",
        "Which country is {s} based in?",
        "Which country was {s} founded in?",
        "Which country does {s} come from?",
        "Which nation is {s} from?",
    ),
    "country_of_dish": (
        "Which country is {s} from?",
        "Which country invented {s}?",
        "Which country did {s} originate in?",
        "Which country does {s} come from?",
        "Which nation is {s} from?",
    ),
    "country_of_landmark": (
        "Which country is {s} in?",
        "Which country is {s} located in?",
        "Which country is home to {s}?",
        "Which country has {s}?",
        "Which nation is {s} in?",
    ),
    "creator_of_character": (
        "Which author created {s}?",
        "Which writer created {s}?",
        "Which person invented {s}?",
        "Which author came up with {s}?",
        "Which writer is the creator of {s}?",
    ),
    "currency_of_country": (
        "Which currency is used in {s}?",
        "Which currency does {s} use?",
        "Which currency is the official currency of {s}?",
        "Which money do people use in {s}?",
    ),
    "director_of_film": (
        "Which director made {s}?",
        "Which director made the film {s}?",
        "Which filmmaker directed {s}?",
        "Which person directed {s}?",
    ),
    "founder_of_company": (
        "Which person founded {s}?",
        "Which man founded {s}?",
        "Which entrepreneur founded {s}?",
        "Which businessman started {s}?",
        "Which person is the founder of {s}?",
    ),
    "leader_fact": (
        "Which person was {s}?",
        "Which man was {s}?",
        "Which politician was {s}?",
        "Which leader was {s}?",
    ),
    "main_language_of_country": (
        "Which language is spoken in {s}?",
        "Which language do people speak in {s}?",
        "Which language is the main language of {s}?",
        "Which language do most people in {s} speak?",
    ),
    "nationality_of_person": (
        "Which nationality was {s}?",
        "Which nationality is {s}?",
        "Which nationality did {s} have?",
        "Which nationality does {s} have?",
        "Which nationality did {s} hold?",
    ),
    "painter_of_painting": (
        "Which artist painted {s}?",
        "Which painter painted {s}?",
        "Which painter made {s}?",
        "Which artist created {s}?",
        "Which person painted {s}?",
    ),
    "sport_of_athlete": (
        "Which sport did {s} play?",
        "Which sport does {s} play?",
        "Which sport is {s} known for?",
        "Which sport is {s} famous for?",
        "Which game did {s} play?",
    ),
    "state_of_us_city": (
        "Which state is {s} in?",
        "Which U.S. state is {s} in?",
        "Which state is {s} located in?",
        "Which state is the city of {s} in?",
        "Which state does {s} belong to?",
    ),
}

# What a request asks for: "Can you tell me who wrote Emma?"
_CLAUSES: Templates = {
    "author_of_book": ("who wrote {s}", "who the author of {s} is"),
    "birth_country_of_person": ("where {s} was born", "in which country {s} was born"),
    "capital_of_country": ("what the capital of {s} is", "which city is the capital of {s}"),
    "capital_of_us_state": ("what the capital of {s} is", "which city is the capital of {s}"),
    "city_of_landmark": ("where {s} is", "in which city {s} is located"),
    "city_of_team": ("where {s} play", "which city {s} are from"),
    "continent_of_country": ("which continent {s} is on", "where in the world {s} is"),
    "country_of_city": ("where {s} is", "in which country {s} is located"),
    "country_of_company": ("where {s} is based", "which country {s} is from"),
    "country_of_dish": ("where {s} is from", "which country {s} comes from"),
    "country_of_landmark": ("where {s} is", "in which country {s} is located"),
    "creator_of_character": ("who created {s}", "who the creator of {s} is"),
    "currency_of_country": ("what the currency of {s} is", "which currency {s} uses"),
    "director_of_film": ("who directed {s}", "who the director of the film {s} is"),
    "founder_of_company": ("who founded {s}", "who the founder of {s} is"),
    "leader_fact": ("who {s} was", "the name of {s}"),
    "main_language_of_country": ("which language is spoken in {s}", "what people in {s} speak"),
    "nationality_of_person": ("what the nationality of {s} was", "which nationality {s} had"),
    "painter_of_painting": ("who painted {s}", "who the painter of {s} is"),
    "sport_of_athlete": ("which sport {s} played", "what sport {s} is famous for"),
    "state_of_us_city": ("which state {s} is in", "in which U.S. state {s} is located"),
}
_REQUESTS = ("Can you tell me", "Do you know", "Could you tell me")

# One in 25 of the untrained sampler's sound questions, and none of the shipped sampler's.
YOU: Templates = {
    relation: tuple(f"{request} {clause}?" for clause in clauses for request in _REQUESTS)
    for relation, clauses in _CLAUSES.items()
}

TEMPLATES: dict[tuple[str, str], Templates] = {
    ("opening", "in which"): IN_WHICH,
    ("opening", "which"): WHICH,
    ("word", "you"): YOU,
}
