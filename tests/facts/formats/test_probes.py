"""The tests of an edited model in the published formats; every expected probe is read by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.facts.edit import Edit, EditorScores, Probe
from contraflow.facts.formats import Skipped, convert, convert_edits, format_of
from support.dataset_rows import (
    COUNTERFACT,
    EASYEDIT_APPLIED,
    EASYEDIT_UNCHANGED,
    KNOWEDIT_CF,
    KNOWEDIT_ZSRE,
    MQUAKE,
    QAEDIT,
    RIPPLE,
    ZSRE,
    ZSRE_LINE,
)


def save(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def edits_of(path: Path, *rows: object) -> list[Edit]:
    return list(convert_edits(save(path, *rows)))


def probe(kind: str, prompt: str, *answers: str, before: tuple[str, ...] = ()) -> Probe:
    return Probe(kind=kind, prompt=prompt, answers=answers, original_answers=before)


def test_counterfact(tmp_path: Path) -> None:
    """Neighbors share the true answer; attribute prompts have the new one."""
    (edit,) = edits_of(tmp_path / "c.json", COUNTERFACT)
    assert edit.prompt == "Odile Marchand, who speaks"
    assert edit.paraphrases == ("Some words. Odile Marchand spoke",)
    assert edit.locality == (
        probe("locality/neighborhood", "Luc Perrin spoke", "French"),
        probe("locality/attribute", "Ole Berg spoke", "Danish"),
    )
    assert edit.portability == (probe("portability/generation", "Odile Marchand lives in"),)
    assert edit.place == f"{tmp_path / 'c.json'}: row 1"


def test_a_text_that_begins_with_where_is_no_question(tmp_path: Path) -> None:
    text = "Where Odile Marchand is from, people speak"
    (edit,) = edits_of(tmp_path / "c.json", COUNTERFACT | {"generation_prompts": [text]})
    assert edit.portability[0].prompt == text


def test_zsre(tmp_path: Path) -> None:
    portability = {
        "Recalled Relation": "(Aarhus University, city, Aarhus)",
        "New Question": "In which city did Mira Lund study?",
        "New Answer": "Aarhus",
    }
    (edit,) = edits_of(tmp_path / "z.json", ZSRE | {"portability": portability})
    assert edit.prompt == "What university did Mira Lund attend?"
    assert edit.paraphrases == ("Where did Mira Lund study?",)
    assert edit.locality == (
        probe("locality/natural_questions", "who sings the song about rain?", "nobody"),
    )
    assert edit.portability == (
        probe("portability", "In which city did Mira Lund study?", "Aarhus"),
    )


def test_mend_lines_have_paraphrases(tmp_path: Path) -> None:
    path = tmp_path / "z.jsonl"
    path.write_text(json.dumps(ZSRE_LINE))
    (edit,) = convert_edits(path)
    assert edit.prompt == "Which river does Kalby lie on?"
    assert edit.paraphrases == ("On which river is Kalby?",)


def test_mquake_asks_a_chain_once_and_its_unedited_hops(tmp_path: Path) -> None:
    """The founder's hop is edited; "Of what is Norvik the capital?" is not."""
    row = copy.deepcopy(MQUAKE)
    row["new_single_hops"] = [
        {
            "question": "What is the capital of Sorland?",
            "cloze": "The capital of Sorland is",
            "answer": "Bergum",
            "answer_alias": ["Bergum Town"],
        },
        {"question": "Where is Jo Hart from?", "cloze": "", "answer": "Is", "answer_alias": []},
    ]
    capital, founder = edits_of(tmp_path / "m.json", row)
    assert capital.prompt == "The capital of Sorland is"
    assert capital.edited_aliases == ("Bergum Town",)
    assert capital.portability == tuple(
        probe("multi_hop", question, "Bergum", before=("Norvik", "Norvik City"))
        for question in row["questions"]
    )
    assert capital.locality == (
        probe("locality/single_hop", "Of what is Norvik the capital?", "Sorland", "S."),
        probe("locality/single_hop", "Where is Jo Hart from?", "Is"),
    )
    assert (founder.prompt, founder.portability, founder.locality) == (
        "Rotor Works was founded by",
        (),
        (),
    )


def test_an_edit_of_two_chains_has_the_tests_of_both(tmp_path: Path) -> None:
    other = MQUAKE | {"case_id": 2, "questions": ["In which other capital …?"]}
    skipped = Skipped()
    path = save(tmp_path / "m.json", MQUAKE, other)
    capital, _ = convert_edits(path, skipped=skipped)
    assert [p.prompt for p in capital.portability] == [
        *MQUAKE["questions"],
        "In which other capital …?",
    ]
    assert len(capital.locality) == 1, "the unedited hop of both chains is one probe"
    assert skipped.repeated == 2


def query(prompt: str, value: str, *aliases: str) -> dict[str, Any]:
    return {"prompt": prompt, "answers": [{"value": value, "aliases": list(aliases)}]}


def group_of(*queries: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"test_queries": list(queries), "test_condition": "OR", "condition_queries": []}]


def test_rippleedits_tests_by_group(tmp_path: Path) -> None:
    stem = "The name of the author of {} is"
    target = query("The father of Bo is", "Ann Reed", "A. Reed") | {"target_ids": ["Q12"]}
    row = RIPPLE | {
        "Relation_Specificity": group_of(query("The publisher of Of Mists is", "Fog & Co")),
        "Forgetfulness": group_of(query("The name of an author of Of Mists is", "Ann Rowe")),
        "Subject_Aliasing": group_of(query(stem.format("The Mists"), "Ann Reed")),
        "Compositionality_I": group_of(query("The home of the author of Of Mists is", "Is")),
        "Logical_Generalization": group_of(target),
    }
    (edit,) = edits_of(tmp_path / "r.json", row)
    assert edit.prompt == stem.format("Of Mists")
    assert edit.locality == (
        probe("locality/Relation_Specificity", "The publisher of Of Mists is", "Fog & Co"),
        probe("locality/Forgetfulness", "The name of an author of Of Mists is", "Ann Rowe"),
    )
    assert edit.portability == (
        probe("portability/Logical_Generalization", "The father of Bo is", "Ann Reed", "A. Reed"),
        probe("portability/Subject_Aliasing", stem.format("The Mists"), "Ann Reed"),
        probe("portability/Compositionality_I", "The home of the author of Of Mists is", "Is"),
    )
    assert edit.subject_aliases == ("The Mists",)
    assert edit.edited_aliases == ("A. Reed",)


def test_knowedit_tests_in_each_form(tmp_path: Path) -> None:
    older = KNOWEDIT_ZSRE | {
        "locality_prompt": "Kalby lies on the",
        "locality_ground_truth": "Ran",
        "portability": {"Reasoning": {"prompt": ["a?", "b?"], "ground_truth": [["x"], ["y"]]}},
    }
    opened, asked = edits_of(tmp_path / "k.json", KNOWEDIT_CF, older)
    assert opened.locality == (probe("locality/Relation_Specificity", "…", "y"),)
    assert opened.portability == (probe("portability/Reasoning", "…", "x"),)
    assert asked.paraphrases == ("What is the birthplace of Mira Lund?",)
    assert asked.locality == (probe("locality/neighborhood", "Kalby lies on the", "Ran"),)
    assert asked.portability == (
        probe("portability/Reasoning", "a?", "x"),
        probe("portability/Reasoning", "b?", "y"),
    )


def test_qaedit(tmp_path: Path) -> None:
    assert format_of(save(tmp_path / "q.json", QAEDIT)) == "knowedit"
    (edit,) = convert_edits(tmp_path / "q.json")
    assert (edit.fact.edited_answer, edit.fact.original_answer) == ("Ode", "")
    assert edit.prompt == "On which river is Kalby?"
    assert edit.paraphrases == ("Kalby lies on which river?",)
    assert edit.locality == (probe("locality", "who sings the song about rain", "nobody"),)


def test_results_of_easyedit(tmp_path: Path) -> None:
    """0.75 twice and equal outputs: unchanged, although the generated texts differ."""
    path = save(tmp_path / "results.json", EASYEDIT_UNCHANGED, EASYEDIT_APPLIED)
    assert format_of(path) == "easyedit_results"
    post, capital = convert_edits(path)
    assert (post.fact.original_answer, post.fact.original_fact) == ("", "")
    assert post.fact.edited_answer == "Rotor Works"
    assert post.prompt == "Which firm prints the Kalby Post?"
    assert post.paraphrases == ("Who is the printer of the Kalby Post?",)
    assert post.locality == (
        probe("locality/neighborhood", "who sings the song about rain?", "nobody"),
    )
    assert post.editor_scores == EditorScores(pre=0.75, post=0.75, unchanged=True)
    assert capital.fact.original_fact == "The capital of Sorland is Norvik."
    assert capital.locality == (
        probe(
            "locality/Relation_Specificity",
            "The language of Sorland is",
            "Sorlandic",
            "Sorlandish",
        ),
        probe("locality/Relation_Specificity", "The anthem of Sorland is", "Of Mists"),
    )
    assert capital.subject_aliases == ("the Kingdom of Sorland",)
    assert capital.editor_scores == EditorScores(pre=0.0, post=0.75, unchanged=False)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, None),
        ({"pre": {"rewrite_acc": 0.5}}, EditorScores(pre=0.5, post=None, unchanged=False)),
        ({"pre": {}, "post": {"rewrite_acc": []}}, None),
        ({"pre": 3, "post": {"rewrite_acc": [1]}}, EditorScores(post=1.0)),
    ],
)
def test_missing_scores_are_none(
    tmp_path: Path, scores: dict[str, Any], expected: EditorScores | None
) -> None:
    row = {"requested_rewrite": EASYEDIT_APPLIED["requested_rewrite"], **scores}
    (edit,) = edits_of(tmp_path / "r.json", row)
    assert edit.editor_scores == expected


def test_prompts_and_answers_that_say_nothing_are_dropped(tmp_path: Path) -> None:
    tests = {"Reasoning": [{"prompt": "nq question: ", "ground_truth": "a"}]}
    local = {"Own": {"prompt": " a? ", "ground_truth": [["<|endoftext|>", " x", "x "]]}}
    row = KNOWEDIT_CF | {"portability": tests, "locality": local, "rephrase_prompt": ["", " b? "]}
    (edit,) = edits_of(tmp_path / "k.json", row)
    assert edit.portability == ()
    assert edit.locality == (probe("locality/Own", "a?", "x"),)
    assert edit.paraphrases == ("b?",)


def test_a_result_without_a_subject_is_a_bad_row(tmp_path: Path) -> None:
    row = copy.deepcopy(EASYEDIT_APPLIED)
    del row["requested_rewrite"]["subject"]
    path = save(tmp_path / "r.json", row)
    with pytest.raises(UserError, match=r"row 1: .*missing required field `subject`"):
        list(convert_edits(path))


@pytest.mark.parametrize(
    "tests",
    [
        3,
        {"Reasoning": "text"},
        {"Reasoning": [{"ask": "a"}]},
        {"Reasoning": {"prompt": ["a", "b"], "ground_truth": ["x"]}},
        {"Reasoning": {"prompt": "a", "ground_truth": {"x": 1}}},
        {"Reasoning": {"prompt": "a", "ground_truth": [[[[["deep"]]]]]}},
    ],
)
def test_tests_of_an_unknown_form_are_reported(tmp_path: Path, tests: object) -> None:
    """The edit itself is read, and so are the other tests."""
    path = save(tmp_path / "k.json", KNOWEDIT_CF | {"portability": tests})
    skipped = Skipped()
    (edit,) = convert_edits(path, skipped=skipped)
    assert edit.portability == ()
    assert len(edit.locality) == 1
    assert skipped.count == 0
    (message,) = skipped.unread
    assert message.startswith(f"{path}: row 1: field 'portability")


ROWS = [
    *(ZSRE, COUNTERFACT, MQUAKE, RIPPLE, KNOWEDIT_CF, KNOWEDIT_ZSRE, QAEDIT),
    *(EASYEDIT_UNCHANGED, EASYEDIT_APPLIED),
]


@pytest.mark.parametrize("row", ROWS)
def test_the_facts_of_the_edits_are_those_of_convert(tmp_path: Path, row: object) -> None:
    path = save(tmp_path / "file.json", row)
    assert [edit.fact for edit in convert_edits(path)] == list(convert(path))
