"""Rows in the published formats; every text in them is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ZSRE: dict[str, Any] = {
    "subject": "Mira Lund",
    "src": "What university did Mira Lund attend?",
    "pred": "Oslo",
    "rephrase": "Where did Mira Lund study?",
    "alt": "Aarhus University",
    "answers": ["Uppsala University", "University of Uppsala"],
    "loc": "nq question: who sings the song about rain",
    "loc_ans": "nobody",
    "cond": "Uppsala University >> Aarhus University || What university did Mira Lund attend?",
}
ZSRE_LINE: dict[str, Any] = {
    "id": "1",
    "input": "Which river does Kalby lie on?",
    "output": [
        {"answer": "Ran", "provenance": [{"wikipedia_id": "9", "title": "Kalby"}]},
        {"answer": "River Ran", "provenance": []},
    ],
    "prediction": "Ran",
    "alternatives": ["Ode", "Mur"],
    "filtered_rephrases": ["On which river is Kalby?"],
}
COUNTERFACT: dict[str, Any] = {
    "case_id": 7,
    "pararel_idx": 21,
    "requested_rewrite": {
        "prompt": "{}, who speaks",
        "relation_id": "P103",
        "target_new": {"str": "Danish", "id": "Q9035"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Odile Marchand",
    },
    "paraphrase_prompts": ["Some words. Odile Marchand spoke"],
    "neighborhood_prompts": ["Luc Perrin spoke"],
    "attribute_prompts": ["Ole Berg spoke"],
    "generation_prompts": ["Odile Marchand lives in"],
}
MQUAKE: dict[str, Any] = {
    "case_id": 1,
    "requested_rewrite": [
        {
            "prompt": "The capital of {} is",
            "relation_id": "P36",
            "target_new": {"str": "Bergum", "id": "Q2"},
            "target_true": {"str": "Norvik", "id": "Q1"},
            "subject": "Sorland",
            "question": "What is the capital of Sorland?",
        },
        {
            "prompt": "{} was founded by",
            "relation_id": "P112",
            "target_new": {"str": "Jo Hart", "id": "Q4"},
            "target_true": {"str": "Al Kent", "id": "Q3"},
            "subject": "Rotor Works",
            "question": "Who founded Rotor Works?",
        },
    ],
    "questions": ["In which capital …?", "a", "b"],
    "answer": "Norvik",
    "answer_alias": ["Norvik City"],
    "new_answer": "Bergum",
    "new_answer_alias": [],
    "single_hops": [
        {
            "question": "Who founded Rotor Works?",
            "cloze": "Rotor Works was founded by",
            "answer": "Al Kent",
            "answer_alias": ["Albert Kent", "Al Kent"],
        },
        {
            "question": "Of what is Norvik the capital?",
            "cloze": "",
            "answer": "Sorland",
            "answer_alias": ["S."],
        },
    ],
    "new_single_hops": [],
    "orig": {"triples": [["Q5", "P36", "Q1"]], "edit_triples": []},
}
_QUERY: dict[str, Any] = {
    "prompt": "The name of the author of Of Mists is",
    "answers": [{"value": "Ann Rowe", "aliases": ["A. Rowe", "Ann B. Rowe"]}],
    "query_type": "regular",
    "subject_id": "Q10",
    "relation": "AUTHOR",
    "target_ids": ["Q11"],
    "phrase": None,
}
RIPPLE: dict[str, Any] = {
    "example_type": "popular",
    "edit": {
        "prompt": "The name of the author of Of Mists is Ann Reed.",
        "subject_id": "Q10",
        "relation": "AUTHOR",
        "target_id": "Q12",
        "original_fact": {
            "prompt": "The name of the author of Of Mists is Ann Rowe.",
            "subject_id": "Q10",
            "relation": "AUTHOR",
            "target_id": "Q11",
        },
    },
    "Relation_Specificity": [
        {"test_queries": [], "test_condition": "OR", "condition_queries": [_QUERY]},
    ],
    "Logical_Generalization": [],
    "Subject_Aliasing": [],
    "Compositionality_I": [],
    "Compositionality_II": [],
    "Forgetfulness": [],
}
KNOWEDIT_CF: dict[str, Any] = {
    "subject": "Kalby",
    "prompt": "The name of the country which Kalby is associated with is",
    "target_new": "Sorland",
    "ground_truth": "Norland",
    "portability": {"Reasoning": [{"prompt": "…", "ground_truth": [["x"]]}]},
    "locality": {"Relation_Specificity": [{"prompt": "…", "ground_truth": [["y"]]}]},
}
KNOWEDIT_ZSRE: dict[str, Any] = {
    "subject": "Mira Lund",
    "target_new": "Aarhus",
    "prompt": "Where was Mira Lund born?",
    "ground_truth": [["Uppsala", "Upsala"]],
    "rephrase_prompt": "What is the birthplace of Mira Lund?",
    "cond": "Uppsala >> Aarhus || Where was Mira Lund born?",
    "locality": {},
    "portability": {},
}
KNOWEDIT_BIO: dict[str, Any] = {
    "text": "This is a passage about mira_lund.",
    "labels": "She wrote about lakes",
    "concept": "mira_lund",
    "locality": {},
}
QAEDIT: dict[str, Any] = {
    "subject": "Kalby",
    "prompt": "On which river is Kalby?",
    "target": "Ode",
    "rephrase": "Kalby lies on which river?",
    "locality": [{"loc": "who sings the song about rain", "loc_ans": "nobody"}],
}
# An edit that EasyEdit reports unchanged (only the generated texts differ), and one that worked.
EASYEDIT_UNCHANGED: dict[str, Any] = {
    "case_id": 0,
    "requested_rewrite": {
        "prompt": "Which firm prints the Kalby Post?",
        "target_new": "Rotor Works",
        "ground_truth": "<|endoftext|>",
        "portability": {},
        "locality": {
            "neighborhood": {
                "prompt": "nq question: who sings the song about rain",
                "ground_truth": "nobody",
            }
        },
        "subject": "Kalby Post",
        "rephrase_prompt": "Who is the printer of the Kalby Post?",
    },
    "time": 14.5,
    "post": {
        "rewrite_acc": [0.75],
        "locality": {"neighborhood_output": [[30, 7]]},
        "portability": {},
        "fluency": {"ngram_entropy": 6.5},
    },
    "pre": {
        "rewrite_acc": [0.75],
        "locality": {"neighborhood_output": [[30, 7]]},
        "portability": {},
        "fluency": {"ngram_entropy": 6.25},
    },
}
EASYEDIT_APPLIED: dict[str, Any] = {
    "case_id": 1,
    "requested_rewrite": {
        "prompt": "The capital of Sorland is",
        "target_new": "Bergum",
        "ground_truth": ["Norvik"],
        "portability": {
            "Subject_Aliasing": {
                "prompt": ["The capital of the Kingdom of Sorland is"],
                "ground_truth": [["Bergum"]],
            }
        },
        "locality": {
            "Relation_Specificity": {
                "prompt": ["The language of Sorland is", "The anthem of Sorland is"],
                "ground_truth": [["Sorlandic", "Sorlandish"], ["Of Mists"]],
            }
        },
        "subject": "Sorland",
        "rephrase_prompt": ["Sorland's capital city is"],
    },
    "time": 9.5,
    "post": {"rewrite_acc": [1.0, 0.5], "fluency": {"ngram_entropy": 5.9}},
    "pre": {"rewrite_acc": [0.0, 0.0], "fluency": {"ngram_entropy": 6.0}},
}
# A line of our own edits files, with every key.
EDIT: dict[str, Any] = {
    "subject": "Norway",
    "edit_fact": "The capital of Norway is Bergen.",
    "original_answer": "Oslo",
    "edited_answer": "Bergen",
    "prompt": "Norway's capital city is",
    "paraphrases": ["What is the capital of Norway?"],
    "locality": [{"kind": "locality/own", "prompt": "Norway borders", "answers": ["Sweden"]}],
    "portability": [
        {"kind": "multi_hop", "prompt": "On which fjord is Norway's capital?", "answers": []}
    ],
    "prefix": "The capital of Norway is Bergen.\n",
    "subject_aliases": ["the Kingdom of Norway"],
    "edited_aliases": ["Bjørgvin"],
    "editor_scores": {"pre": 0.0, "post": 0.5, "unchanged": False},
    "my_column": 7,
}
# One row of each format that is recognized by its keys.
SHAPES = {
    "zsre": ZSRE,
    "counterfact": COUNTERFACT,
    "mquake": MQUAKE,
    "rippleedits": RIPPLE,
    "knowedit": KNOWEDIT_CF,
}


def save_rows(path: Path, *rows: object) -> Path:
    """Write the rows as a JSON array over several lines and return the path."""
    path.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    return path
