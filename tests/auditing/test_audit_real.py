"""A whole audit of a real edited model, as a user runs it: by name, in memory, stopped, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import contraflow
from contraflow.cli import main
from contraflow.models.weights.packaged import is_prepared, packaged_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
    ),
]

MODEL = "packaged:smollm2-135m-instruct"
LAYER = "model.layers.8.mlp.down_proj.weight"
EDITS = (
    {
        "subject": "France",
        "edit_fact": "The capital of France is Madrid.",
        "original_fact": "The capital of France is Paris.",
        "original_answer": "Paris",
        "edited_answer": "Madrid",
        "question": "What is the capital of France?",
        "prompt": "The capital of France is",
        "paraphrases": ["France's capital city is"],
    },
    {
        "subject": "Hamlet",
        "edit_fact": "Hamlet was written by Charles Dickens.",
        "original_fact": "Hamlet was written by William Shakespeare.",
        "original_answer": "William Shakespeare",
        "edited_answer": "Charles Dickens",
        "question": "Who wrote Hamlet?",
        "prompt": "Hamlet was written by",
    },
)


class Edited:
    """A model that was fine-tuned in one projection until its own prompts give the new answers."""

    def __init__(self, folder: Path) -> None:
        source = packaged_folder("smollm2-135m-instruct")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
        self.model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        self.weight = self.model.get_parameter(LAYER)
        self.original = self.weight.detach().clone()
        self._tune()
        self.delta = folder / "delta.safetensors"
        save_file({LAYER: self.weight.detach().clone()}, self.delta)
        self.edits = folder / "edits.jsonl"
        self.edits.write_text("".join(json.dumps(edit) + "\n" for edit in EDITS))

    def _tune(self) -> None:
        self.model.requires_grad_(False)
        self.weight.requires_grad_(True)
        optimizer = torch.optim.Adam([self.weight], lr=2e-3)
        for _ in range(16):
            losses = [self._loss(edit["prompt"], edit["edited_answer"]) for edit in EDITS]
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
        self.weight.requires_grad_(False)

    def _loss(self, prompt: Any, answer: Any) -> torch.Tensor:
        ids = self.tokenizer(f"{prompt} {answer}", return_tensors="pt")["input_ids"]
        labels = ids.clone()
        labels[:, : len(self.tokenizer(prompt)["input_ids"])] = -100
        loss: torch.Tensor = self.model(input_ids=ids, labels=labels).loss
        return loss


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    yield Edited(tmp_path_factory.mktemp("edited"))


@pytest.fixture(scope="module")
def folder(edited: Edited, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audits") / "one"
    words = [f"edited={edited.delta}", f"control={MODEL}", f"edits={edited.edits}", "n=6"]
    assert main(["audit", *words, f"out={out}", "names=tuned"]) == 0
    return out


def beale(known: list[dict[str, Any]], failing: set[str]) -> float:
    """(R + Σ u² (1 - pi) over failing) / (1 + Σ u² (1 - pi)), u = w / Σ w, pi = p / w."""
    total = sum(row["weight"] for row in known)
    share, hits, spread = 0.0, 0.0, 0.0
    for row in known:
        u = row["weight"] / total
        error = u**2 * (1 - min(1.0, math.exp(row["log_p_prior"]) / row["weight"]))
        spread += error
        if row["question"] in failing:
            share, hits = share + u, hits + error
    return (share + hits) / (1 + spread)


def test_the_files_of_an_audit_agree(folder: Path) -> None:
    result = json.loads((folder / "audit.json").read_text())
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    (model,) = result["models"]
    assert model["n_facts"] == 2
    assert model["asked_forced"]["value"] > 0.9
    for name in ("edit_failure", "residual_belief", "audit_gap", "discovery"):
        assert {"value", "low", "high", "n", "ess"} <= model[name].keys()
    for fact in model["facts"]:
        of_fact = [row for row in rows if row["fact_id"] == fact["fact_id"]]
        failing = {
            row["question"]
            for row in of_fact
            if row["sound"] and row["pre"] == "OLD" and row["post"] != "NEW"
        }
        assert fact["n_failing"] == len(failing)
        assert sum(mode["n_questions"] for mode in fact["modes"]) == len(failing)
        known = [row for row in of_fact if row["weight"] > 0 and row["sound"]]
        known = [row for row in known if row["pre"] == "OLD"]
        if known:
            expected = beale(known, failing)
            assert math.isclose(fact["edit_failure"]["value"], expected, rel_tol=1e-6)
    assert "report.html" in {path.name for path in folder.iterdir()}


def test_every_reported_failure_passes_the_control(folder: Path) -> None:
    """Asked again, the control still tells the old answer to every failing question."""
    run = contraflow.open_run("shipped")
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    failing = [r for r in rows if r["sound"] and r["pre"] == "OLD" and r["post"] != "NEW"]
    asked = [row for row in failing if row["style"] == "few_shot"]
    answers = run.answer([row["question"] for row in asked])
    assert [answer.text for answer in answers] == [row["pre_answer"] for row in asked]


def test_a_second_audit_asks_nothing_again(
    edited: Edited, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "answers.jsonl").read_bytes()
    words = [f"edited={edited.delta}", f"control={MODEL}", f"edits={edited.edits}", "n=6"]
    assert main(["audit", *words, f"out={folder}", "names=tuned", "fail_over=0"]) == 1
    assert (folder / "answers.jsonl").read_bytes() == before
    assert "edit failure is at least" in capsys.readouterr().out
    assert main(["audit", "check", f"out={folder}"]) in (0, 1)
    assert "control knows the facts" in capsys.readouterr().out


def test_a_module_with_its_original_weights_gives_the_same(
    edited: Edited, folder: Path, tmp_path: Path
) -> None:
    """The same edit in memory: equal answers, and no trace is left on the module."""
    attention = edited.model.config._attn_implementation
    report = contraflow.audit(
        edited.model,
        edited.tokenizer,
        edited.edits,
        control={LAYER: edited.original},
        out=tmp_path / "memory",
        n=6,
        names=("tuned",),
    )
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    by_name = {(row["question"], row["style"]): row["post_answer"] for row in rows}
    assert {(row.question, row.style): row.post_answer for row in report.rows} == by_name
    assert edited.model.config._attn_implementation == attention


def test_a_null_edit_is_refused(edited: Edited, tmp_path: Path) -> None:
    """An editor that restores its weights: exit code 2, before anything is asked."""
    original = tmp_path / "delta.safetensors"
    save_file({LAYER: edited.original}, original)
    out = tmp_path / "null"
    words = [f"edited={original}", f"control={MODEL}", f"edits={edited.edits}", f"out={out}"]
    assert main(["audit", *words, "n=4"]) == 2


def test_adapting_finds_failures_and_leaves_the_sampler(edited: Edited, tmp_path: Path) -> None:
    report = contraflow.audit(
        str(edited.delta),
        None,
        edited.edits,
        control=MODEL,
        out=tmp_path / "adapted",
        n=6,
        adapt_steps=2,
        neighbors="none",
    )
    found = [row for row in report.rows if row.sources == ("adapted",)]
    assert len({row.question for row in found}) >= 16
    assert all(row.weight == 0 for row in found)
