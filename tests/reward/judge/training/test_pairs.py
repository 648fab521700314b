"""Training pairs of the judge: labels follow from construction, splits share nothing."""

import random
import re
from pathlib import Path

import pytest
import torch

from contraflow.errors import UserError
from contraflow.reward.judge.training.__main__ import ASSETS
from contraflow.reward.judge.training.evaluate import best_temperature, calibration_error, measure
from contraflow.reward.judge.training.names import Names, load_names, number_word
from contraflow.reward.judge.training.pairs import Pair, PairMaker, soft
from contraflow.reward.judge.training.relations import Relation, fill, load_relations, load_trivia
from contraflow.reward.judge.training.rng import derived_rng
from contraflow.reward.judge.training.sentences import Sentences

FOLDER = ASSETS / "judge_training"
REAL_LISTS = {
    kind: ["Ab Cd"] for kind in ("pr_person", "pr_city", "pr_work", "pr_company", "pr_product")
}


def shipped(split: str) -> tuple[Names, list[Relation]]:
    names = load_names(FOLDER / "names.txt", split, REAL_LISTS)
    relations = load_relations(sorted(FOLDER.glob("relations_*.txt")), names)
    return names, [
        relation for relation in relations if relation.held_out == (split == "validation")
    ]


def maker_of(relation: Relation) -> PairMaker:
    shipped_names, _ = shipped("train")  # for the details in answers
    lists = {"thing": ("cup", "bell"), "hue": ("teal", "beige")}
    names = Names({**shipped_names.leaves, **lists}, shipped_names.grammars)
    return PairMaker(Sentences([relation], names, {}), ["A dog runs."])


def test_the_same_seed_makes_the_same_pairs() -> None:
    names, relations = shipped("train")
    trivia = load_trivia(FOLDER / "trivia.txt", "train")
    maker = PairMaker(Sentences(relations, names, trivia), ["A dog runs."])
    first = [maker.draw(derived_rng("t", n)) for n in range(300)]
    assert first == [maker.draw(derived_rng("t", n)) for n in range(300)]
    assert len({pair.category for pair in first}) >= 15


def test_labels_follow_from_the_objects() -> None:
    """One relation, two subjects, two objects: the sentence determines the label."""
    colour = Relation("c", "thing", "hue", "c", False, ("S is O.",), ("S is not O.",))
    maker, rng, seen = maker_of(colour), random.Random(0), set()
    for _ in range(500):
        pair = maker.draw(rng)
        if pair.category in {
            "contradiction.denial",
            "entailment.paraphrase",
            "entailment.denies_rival",
        }:
            seen.add(pair.category)
            same = ("teal" in pair.premise) == ("teal" in pair.hypothesis)
            denied = "not" in pair.hypothesis
            assert pair.target == soft("entailment" if same != denied else "contradiction")
    assert len(seen) == 3


def test_relations_are_many_varied_and_well_formed() -> None:
    names = load_names(FOLDER / "names.txt", "train", REAL_LISTS)
    relations = load_relations(sorted(FOLDER.glob("relations_*.txt")), names)
    by_hand = [relation for relation in relations if "." not in relation.name]
    assert len(by_hand) >= 300
    assert len({(relation.name, relation.object) for relation in relations}) == len(relations)
    for relation in relations:
        assert len(relation.forms) >= 3, relation.name
        for form in relation.forms + relation.denials:
            assert re.search(r"\bS\b", form) and re.search(r"\bO\b", form), (relation.name, form)
            assert form.endswith("."), (relation.name, form)


def test_splits_share_no_relation_and_no_divided_name() -> None:
    (train_names, train), (held_names, held) = shipped("train"), shipped("validation")
    assert not {relation.name for relation in train} & {relation.name for relation in held}
    assert len(held) >= 25
    for kind in ("first", "last", "realcity", "country", "animals"):
        assert not set(train_names.leaves[kind]) & set(held_names.leaves[kind])
        assert held_names.leaves[kind]


def test_an_unknown_slot_type_is_named(tmp_path: Path) -> None:
    file = tmp_path / "relations_x.txt"
    file.write_text("@x nosuch hue fam\nS is O.\n")
    with pytest.raises(UserError, match="no name list @nosuch"):
        load_relations([file], Names({"hue": ("red",)}, {}))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("S is a O.", "Ann is an owl."),
        ("the S of O.", "The Ann of owl."),
        ("O is S's.", "Owl is Ann's."),
    ],
)
def test_articles_and_capitals(form: str, expected: str) -> None:
    assert fill(form, "Ann", "owl") == expected


def test_number_words() -> None:
    assert [number_word(n) for n in (0, 8, 12, 19, 20, 42, 99)] == [
        "zero",
        "eight",
        "twelve",
        "nineteen",
        "twenty",
        "forty-two",
        "ninety-nine",
    ]


def test_figures_by_hand() -> None:
    """Four pairs: predicted E, C, N, C; true E, C, C, N.

    Three-way 2/4; contradiction or not: two are right.
    """
    labels = ("entailment", "contradiction", "contradiction", "neutral")
    pairs = [Pair("p", "h", soft(label), label) for label in labels]
    log_probs = torch.tensor(
        [[0.9, 0.1, 0.0], [0.0, 0.1, 0.9], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]]
    ).log()
    figures = measure(log_probs, pairs)
    assert figures.three_way == 0.5
    assert figures.contradiction_vs_rest == 0.5
    assert figures.recall_by_category == {"contradiction": 0.5, "entailment": 1.0, "neutral": 0.0}


def test_calibration_error_by_hand() -> None:
    """Bin 0.9 has half of the pairs: predicted 0.95, observed 1 of 2, gap 0.45.

    Bin 0.0: predicted 0.05, observed 0, gap 0.05.
    """
    probability, happened = (
        torch.tensor([0.95, 0.95, 0.05, 0.05]),
        torch.tensor([True, False, False, False]),
    )
    error = calibration_error(probability, happened)
    assert error == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)


def test_a_temperature_corrects_overconfidence() -> None:
    """Logits ±ln 3 · 4 that are right 3 times in 4: the best divisor is 4."""
    log3 = torch.tensor(3.0).log()
    logits = (torch.tensor([[1.0, 0.0, -1e4]]) * log3 * 4).repeat(4, 1)
    targets = torch.tensor([[1.0, 0, 0]] * 3 + [[0, 1.0, 0]])
    assert best_temperature(logits, targets) == pytest.approx(4, rel=0.02)


def test_a_list_given_twice_is_refused(tmp_path: Path) -> None:
    """The second would silently replace the first."""
    file = tmp_path / "names.txt"
    file.write_text("@state\nTexas; Ohio\n@state\nopen|closed\n")
    with pytest.raises(UserError, match="@state is given twice"):
        load_names(file, "train", {})
