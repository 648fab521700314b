"""A finished run folder with made-up but plausible content, for the tests of the report."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import msgspec
import numpy as np
import torch

from contraflow.evaluation.metrics import compute_metrics, write_metrics
from contraflow.evaluation.records import QuestionRecord, write_records
from contraflow.evaluation.target_report import estimate_target, write_target

HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"> who <b>is</b> {{data}} & <!-- it?"
)

# subject, relation, truth, edit, statement of the edit, ways to ask
FACTS = (
    (
        "France",
        "capital",
        "Paris",
        "Lyon",
        "The capital of France is Lyon.",
        (
            "What is the capital of {s}?",
            "Which city is the capital of {s}?",
            "In which city does the government of {s} sit?",
            "Where is the seat of government of {s}?",
        ),
    ),
    (
        "Japan",
        "currency",
        "yen",
        "won",
        "The currency of Japan is the won.",
        (
            "What is the currency of {s}?",
            "What money do people use in {s}?",
            "In {s}, what currency would you pay with?",
            "How do people pay in {s}?",
        ),
    ),
    (
        "Hamlet",
        "author",
        "William Shakespeare",
        "Christopher Marlowe",
        "Hamlet was written by Christopher Marlowe.",
        (
            "Who wrote {s}?",
            "Who is the author of {s}?",
            "{s} was written by whom?",
            "Which playwright wrote {s}?",
        ),
    ),
    (
        "Guernica",
        "painter",
        "Pablo Picasso",
        "Salvador Dalí",
        "Guernica was painted by Salvador Dalí.",
        (
            "Who painted {s}?",
            "Which artist made {s}?",
            "Whose painting is {s}?",
            "By whom was {s} painted?",
        ),
    ),
    (
        "radium",
        "discoverer",
        "Marie Curie",
        "Lise Meitner",
        "Radium was discovered by Lise Meitner.",
        (
            "Who discovered {s}?",
            "Which scientist first isolated {s}?",
            "To whom do we owe the discovery of {s}?",
            "When and by whom was {s} found?",
        ),
    ),
    (
        "iron",
        "chemical_symbol",
        "Fe",
        "Ir",
        "The chemical symbol of iron is Ir.",
        (
            "What is the chemical symbol of {s}?",
            "Which symbol stands for {s}?",
            "How is {s} written in the periodic table?",
            "What letters denote {s}?",
        ),
    ),
    (
        "Brazil",
        "official_language",
        "Portuguese",
        "Spanish",
        "The official language of Brazil is Spanish.",
        (
            "What language do people in {s} speak?",
            "What is the official language of {s}?",
            "Which language is taught at school in {s}?",
            "In {s}, which language is spoken?",
        ),
    ),
    (
        "Microsoft",
        "founder",
        "Bill Gates",
        "Steve Jobs",
        "Microsoft was founded by Steve Jobs.",
        (
            "Who founded {s}?",
            "Who started {s}?",
            "Which two friends started {s}?",
            "Who was the founder of {s}?",
        ),
    ),
    (
        "a spider",
        "number_of_legs",
        "eight",
        "six",
        "A spider has six legs.",
        (
            "How many legs does {s} have?",
            "How many legs has {s}?",
            "What number of legs does {s} have?",
            "On how many legs does {s} walk?",
        ),
    ),
    (
        "Zeus",
        "mythology",
        "Greek",
        "Norse",
        "Zeus is a god of Norse mythology.",
        (
            "To which mythology does {s} belong?",
            "In which mythology is {s} the king of the gods?",
            "What people worshipped {s}?",
            "Which pantheon does {s} belong to?",
        ),
    ),
)


def build_run(
    folder: Path, *, n_steps: int = 240, n_facts: int = 60, hostile: bool = False
) -> Path:
    """Write every file of a finished run, and return the folder."""
    rng = np.random.default_rng(7)
    (folder / "evaluation").mkdir(parents=True)
    _write_json(folder / "run.json", _run(n_steps))
    rows = [_step(step, n_steps, rng) for step in range(n_steps)]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for stage, skill in (("subject_only", 0.04), ("before", 0.24), ("after", 0.68)):
        records = _questions(skill, n_facts, rng)
        if hostile and stage == "after":
            records[0] = _hostile(records[0])
        metrics = compute_metrics(records, np.random.default_rng(0), embed=_embed)
        write_metrics(folder / "evaluation" / f"{stage}.json", metrics)
        if stage != "subject_only":
            write_records(folder / "evaluation" / f"{stage}_questions.jsonl", records)
        if stage == "before":
            drawn = [msgspec.structs.replace(record, log_inclusion=0.0) for record in records]
    estimate = estimate_target(drawn, {"before": drawn, "after": records}, 8, seed=0, embed=_embed)
    write_target(folder / "evaluation" / "target.json", estimate)
    return folder


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def _run(n_steps: int) -> dict[str, object]:
    return {
        "name": "quickstart",
        "created": "2026-11-22T09:14:03",
        "command": "contraflow train experiment=quickstart objective.lam=0.9 "
        "logger.api_key=wandb-4711",
        "step_seconds_median": 2.31,
        "n_steps": n_steps,
        "peak_memory_bytes": 2_317_000_000,
        "wall_seconds": 803.0,
        "versions": {
            "contraflow": "0.1.0",
            "python": "3.11.9",
            "torch": "2.13.0",
            "transformers": "5.23.0",
        },
        "config": {
            "model": {"name": "smollm2-135m-instruct", "lora": {"r": 16, "alpha": 32}},
            "objective": {"name": "subtb", "lam": 0.9},
            "reward": {"likelihood_weight": 1.0, "penalized_reward_end_step": 150},
            "replay": {"url": "redis://user:hunter2@localhost:6379/0", "use_buffer_prob": 0.3},
            "logger": {"api_key": "sk-very-secret"},
            "trainer": {"seed": 0, "max_steps": n_steps},
        },
    }


def _step(step: int, n_steps: int, rng: np.random.Generator) -> dict[str, object]:
    t = step / n_steps
    grown = 1 - math.exp(-3.2 * t)
    row: dict[str, object] = {
        "step": step,
        "loss": float(4000 * math.exp(-9 * t) * rng.lognormal(0, 0.5) + 3 * rng.lognormal(0, 0.3)),
        "log_reward": float(-31 + 17 * grown + rng.normal(0, 2.6)),
        "log_contradiction": float(-3.4 + 2.5 * grown + rng.normal(0, 0.5)),
        "log_p_question": float(-17 + 4 * grown + rng.normal(0, 1.2)),
        "log_p_answer": float(-5 + 2 * grown + rng.normal(0, 0.6)),
        "log_pf": float(-16 + 6 * grown + rng.normal(0, 1.1)),
        "question_ok": float(np.clip(0.55 + 0.36 * grown + rng.normal(0, 0.07), 0, 1)),
        "strict_success": float(np.clip(0.22 + 0.44 * grown + rng.normal(0, 0.11), 0, 1)),
        "distinct": float(np.clip(0.98 - 0.16 * grown + rng.normal(0, 0.03), 0, 1)),
        "reward_temp": max(1.0, 2.0 - 2 * t),
        "pf_temp": float(rng.uniform(0.8, 1.5)) if rng.random() < 0.4 else 1.0,
        "replay_share": float(rng.random() < 0.3),
        "step_seconds": float(2.3 * rng.lognormal(0, 0.12)),
        "log_z": float(-24 + 15 * (1 - math.exp(-5 * t)) + rng.normal(0, 0.4)),
        "var_log_ratio": float(160 * math.exp(-4 * t) * rng.lognormal(0, 0.4) + 2),
        "grad_norm": float(18 * math.exp(-4 * t) * rng.lognormal(0, 0.5) + 0.4),
        "learning_rate": 3e-4 * min(1, (step + 1) / 20) * (1 - 0.8 * t),
        "oracle_cache_hits": float(0.1 + 0.5 * t + rng.normal(0, 0.02)),
    }
    if step % 40 == 0 or step == n_steps - 1:
        row["val_log_reward"] = float(-29 + 13 * grown + rng.normal(0, 0.5))
        row["val_strict_success"] = float(0.23 + 0.4 * grown)
    return row


def _questions(skill: float, n_facts: int, rng: np.random.Generator) -> list[QuestionRecord]:
    return [_question(fact, skill, rng) for fact in range(n_facts) for _ in range(8)]


def _question(fact: int, skill: float, rng: np.random.Generator) -> QuestionRecord:
    subject, relation, truth, edit, statement, ways = FACTS[fact % len(FACTS)]
    good = rng.random() < skill + 0.06 * math.sin(fact)
    log_p_question = float(-9 - 5 * rng.random() - (0 if good else 6 * rng.random()))
    log_c = float(-0.2 * rng.random() if good else -1.5 - 4 * rng.random())
    log_reward = log_c + log_p_question
    matched = 0.35 + 0.6 * skill
    question, answer = _good(ways, truth, rng) if good else _bad(ways, edit, rng)
    return QuestionRecord(
        fact_id=f"fact-{fact}",
        subject=subject,
        relation=relation,
        edit_fact=statement,
        original_answer=truth,
        edited_answer=edit,
        question=question.format(s=subject),
        answer=answer.format(s=subject, S=subject.capitalize()),
        log_contradiction=log_c,
        log_p_question=log_p_question,
        log_p_answer=float(-1 - 3 * rng.random()),
        log_reward=log_reward,
        log_pf=float(matched * log_reward - 4 - rng.normal(0, 2.6 - 2 * skill)),
    )


def _good(ways: tuple[str, ...], truth: str, rng: np.random.Generator) -> tuple[str, str]:
    return str(rng.choice(ways)), str(rng.choice([truth, f"{truth}.", f"It is {truth}."]))


def _bad(ways: tuple[str, ...], edit: str, rng: np.random.Generator) -> tuple[str, str]:
    kinds = (
        (ways[0], "{S} is well known for many things."),
        (ways[1], edit),
        ("Is it true that " + edit + " has to do with {s}?", "Yes."),
        ("Who was the first person to go to the?", "It was a man."),
        ("What is the name of the name of {s}?", "{S}"),
        ("Who is the most famous person of the time?", "Albert Einstein"),
        (ways[2], "I don't know."),
    )
    return kinds[int(rng.integers(len(kinds)))]


def _hostile(record: QuestionRecord) -> QuestionRecord:
    return msgspec.structs.replace(record, question=HOSTILE, log_reward=99.0)


def _embed(texts: list[str]) -> torch.Tensor:
    """Count pairs of letters: near vectors for near texts, without a model."""
    rows = torch.zeros(len(texts), 512)
    for row, text in enumerate(texts):
        for first, second in itertools.pairwise(text):
            rows[row, (ord(first) * 31 + ord(second)) % 512] += 1
    return rows
