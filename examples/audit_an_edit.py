"""`python -m examples.audit_an_edit out=audits/example`: edit a model, audit it, use what it found.

The whole way in one file, with the packaged model and no GPU:

1. an editor changes the model in memory and returns the original weights, as EasyEdit's do
2. the audit asks the edited and the original model, and says how often the edit fails
3. the failing questions are exported: a table, a benchmark for EasyEdit, and an edits file
4. with again=true the editor trains on the failing questions too, and new questions are asked
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import contraflow
from contraflow.cli.command import Argument, Command, ParsedArguments, parse_arguments
from contraflow.cli.failures import report_failure
from contraflow.cli.verbosity import silence_libraries
from contraflow.facts.edit import Edit, prompt_of
from contraflow.facts.edits import read_edits
from contraflow.models.weights.packaged import packaged_folder

MODEL = "smollm2-135m-instruct"
LAYER = "model.layers.8.mlp.down_proj.weight"
LEARNED = 0.05  # mean -log P of a new answer's token, in nats

FRANCE: dict[str, Any] = {
    "subject": "France",
    "edit_fact": "The capital of France is Madrid.",
    "original_fact": "The capital of France is Paris.",
    "original_answer": "Paris",
    "edited_answer": "Madrid",
    "question": "What is the capital of France?",
}
HAMLET: dict[str, Any] = {
    "subject": "Hamlet",
    "edit_fact": "Hamlet was written by Charles Dickens.",
    "original_fact": "Hamlet was written by William Shakespeare.",
    "original_answer": "William Shakespeare",
    "edited_answer": "Charles Dickens",
    "question": "Who wrote Hamlet?",
}


def edits() -> list[Edit]:
    """Two edits; the prompt that an editor trains on is the statement up to its answer."""
    facts = [contraflow.Fact(fact_id=fact["subject"], **fact) for fact in (FRANCE, HAMLET)]
    return [Edit(fact=fact, prompt=prompt_of(fact)) for fact in facts]


def edit_in_place(
    model: Any, tokenizer: Any, lessons: Sequence[tuple[str, str]], steps: int
) -> dict[str, Tensor]:
    """Fine-tune one matrix on prompts and answers; returns the original weights by name.

    Put your own editor here. Whatever changes the model in place is audited in the same way.
    """
    weight = model.get_parameter(LAYER)
    original = weight.detach().clone()
    batch = encoded(tokenizer, lessons)
    model.requires_grad_(False)
    weight.requires_grad_(True)
    optimizer = torch.optim.Adam([weight], lr=2e-3)
    for _ in range(steps):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < LEARNED:
            break
    weight.requires_grad_(False)
    return {LAYER: original}


def encoded(tokenizer: Any, lessons: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Ids, mask and labels of prompts with their answers; only the answers are learned."""
    texts = [f"{prompt} {answer}" for prompt, answer in lessons]
    batch = dict(tokenizer(texts, return_tensors="pt", padding=True, padding_side="right"))
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for row, (prompt, _) in zip(labels, lessons, strict=True):
        row[: len(tokenizer(prompt)["input_ids"])] = -100
    return {**batch, "labels": labels}


def lessons_of(wanted: Sequence[Edit]) -> list[tuple[str, str]]:
    """Each edit's own prompt, and its paraphrases as questions, with the new answer."""
    found = []
    for edit in wanted:
        answer = edit.fact.edited_answer
        found.append((edit.prompt, answer))
        found += [(f"Question: {text}\nAnswer:", answer) for text in edit.paraphrases]
    return found


def run(args: ParsedArguments) -> int:
    """Edit, audit, export; with again=true once more with the failing questions as lessons."""
    out, n, steps = args.required_path("out"), args.integer("n", 2), args.integer("steps", 1)
    again, neighbors = args.boolean("again"), args.required("neighbors")
    folder = packaged_folder(MODEL)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    originals = edit_in_place(model, tokenizer, lessons_of(edits()), steps)
    asked: dict[str, Any] = {"n": n, "neighbors": neighbors}
    report = contraflow.audit(model, tokenizer, edits(), control=originals, out=out, **asked)
    print(report)
    if not any(row.fails for row in report.rows):
        print(f"no question failed; ask more than n={n}")
        return 0
    for name, format_name in (
        ("failing.csv", "csv"),
        ("easyedit.json", "easyedit"),
        ("failing.jsonl", "edits"),
    ):
        written = report.export(out / name, format_name)
        print(f"{out / name}: {written.n_rows} {'rows' if format_name == 'csv' else 'edits'}")
    if again:
        model.get_parameter(LAYER).data.copy_(originals[LAYER])
        print(teach_again(model, tokenizer, report.folder, steps, asked))
    return 0


def teach_again(
    model: Any, tokenizer: Any, folder: Path, steps: int, asked: dict[str, Any]
) -> object:
    """Train on the edits and on their failing questions; audit with questions of another seed.

    Returns the report of the second audit, in the folder `again`.
    """
    failing = read_edits(folder / "failing.jsonl").edits
    taught = {edit.fact.fact_id: edit for edit in failing}
    wanted = [taught.get(edit.fact.fact_id, edit) for edit in edits()]
    originals = edit_in_place(model, tokenizer, lessons_of(wanted), steps)
    return contraflow.audit(
        model,
        tokenizer,
        edits(),
        control=originals,
        out=folder / "again",
        seed=1,
        names=("taught again",),
        **asked,
    )


COMMAND = Command(
    "audit_an_edit",
    "edit the packaged model, audit it, export the questions in which the edit fails",
    "",
    ("python -m examples.audit_an_edit out=audits/example n=16",),
    run,
    (
        Argument("out", "FOLDER", "the folder of the audit", default="audits/example"),
        Argument("n", "N", "different questions per edit", default="16"),
        Argument("steps", "N", "gradient steps of the editor", default="16"),
        Argument("neighbors", "FILE", "locality questions: shipped, none, or a file", "shipped"),
        Argument("again", "true|false", "train on the failing questions too", "false", flag=True),
    ),
)


def main(words: Sequence[str]) -> int:
    """Run the example and return its exit code."""
    try:
        silence_libraries()
        return COMMAND.run(parse_arguments(COMMAND, words))
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
