"""A run folder from before the modules moved is still good, with checkpoint and replay.

`run_of_0_1_0` was made with the code of commit 8332ebf: a random two-layer Llama as sampler and
oracle, a tiny BERT as judge, replay in the embedded server, six steps. `cut` was interrupted after
three of them, `whole` is complete; `report_data.json` is what its report showed.

Its facts have no original answer. Strict success counted them as failures then and leaves them out
now (`comparable`).

What a seed draws has changed since: a question now has its own random numbers, and then took the
next ones of a stream that all unfinished questions shared. `drawn_as_before` restores that order,
and `intervals_as_before` the intervals of then.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.cli import main
from contraflow.evaluation import bootstrap
from contraflow.evaluation.report import write_report
from contraflow.facts import Fact, read_facts
from contraflow.models.decoding.texts import Chooser, Chosen, Now, Request
from contraflow.policy import draw
from contraflow.replay.existing import in_checkpoint, open_embedded
from contraflow.run.fingerprint import sampler_fingerprint
from contraflow.run.replay import open_replay, replay_namespace
from contraflow.run.session import open_run, read_run_config
from contraflow.training.job import train
from support.runs import assert_same, checkpoint, lines, replay_of

MADE = Path(__file__).parent / "run_of_0_1_0"
NEW_METRICS = {"var_log_ratio_median", "var_due_to_answers", "mixed_facts"}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in the working folder; the config names model, judge and facts relative to it."""
    for path in MADE.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copy(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(report: Path) -> dict[str, Any]:
    """Return the numbers and questions of a report."""
    found = re.search(
        r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', report.read_text(), re.DOTALL
    )
    assert found is not None
    return dict(json.loads(found[1]))


def by_content(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out wording, which may improve."""
    kept = {k: v for k, v in data.items() if k not in ("definitions", "stage_names", "part_names")}
    return dict(without_new_fields(kept))


def without_new_fields(value: Any) -> Any:
    """Leave out fields that older versions did not have, where they are empty."""
    if isinstance(value, dict):
        return {
            key: without_new_fields(part)
            for key, part in value.items()
            if not (key in ("log_inclusion", "target") and part is None)
        }
    if isinstance(value, list):
        return [without_new_fields(part) for part in value]
    return value


def comparable(value: Any) -> Any:
    """Leave out what had another meaning then, and the words of captions.

    Strict success of training steps and of relations: 0 then, undefined now. Learning rates of
    steps: then that of the next step.
    """
    if isinstance(value, dict):
        return {
            key: comparable(part)
            for key, part in value.items()
            if key not in ("learning_rate", "caption")
            and not (key in ("strict", "strict_success") and part in (0.0, None))
        }
    if isinstance(value, list):
        return [comparable(part) for part in value]
    return value


def metrics(run: Path, stage: str) -> dict[str, list[float]]:
    """Return value and interval of each metric without wording."""
    found = json.loads((run / "evaluation" / f"{stage}.json").read_text())["metrics"]
    return {name: [m["value"], m["low"], m["high"]] for name, m in found.items()}


def without_fact_hashes(
    entries: dict[tuple[Any, ...], list[Any]], facts: list[Fact]
) -> dict[tuple[Any, ...], list[Any]]:
    """Check that each entry has the hash of its fact, and leave it out: older versions had none."""
    hashes = {fact.fact_id: fact.content_hash for fact in facts}
    plain: dict[tuple[Any, ...], list[Any]] = {}
    for key, (priority, stored) in entries.items():
        assert stored["fact_hash"] == hashes[stored["fact_id"]]
        plain[key] = [priority, {k: v for k, v in stored.items() if k != "fact_hash"}]
    return plain


@dataclass
class SharedStream:
    """Samples with one stream of random numbers for all unfinished questions."""

    chooser: Chooser
    noise: Float[Tensor, " k"]
    used: int = 0

    @property
    def key(self) -> Hashable:
        return self.chooser.key

    def __call__(self, logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], now: Now) -> Chosen:
        start = self.used
        self.used += len(row)
        return self.chooser(logits, row, replace(now, noise=self.noise[start : self.used]))


@pytest.fixture
def drawn_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the random numbers in the order of 0.1.0; a CPU's generator is one stream of them."""
    request = draw.request

    def as_before(*args: Any) -> Request:
        new = request(*args)
        return replace(new, chooser=SharedStream(new.chooser, new.noise.flatten()))

    monkeypatch.setattr(draw, "request", as_before)


@pytest.fixture
def intervals_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percentiles of resamples as they are.

    Those of few facts are widened now, and those of facts that are all alike are no points.
    """
    monkeypatch.setattr(bootstrap, "widening", lambda _n: 1.0)
    monkeypatch.setattr(bootstrap, "one_more", lambda value, _n, _within: (value, value))


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_as_before", "intervals_as_before")
def test_an_interrupted_run_resumes_to_the_same_end(folder: Path) -> None:
    """Questions, rewards, weights, replay and evaluation equal those of the complete run."""
    assert train(read_run_config(folder / "cut")) == Path("cut")
    before, after = folder / "whole", folder / "cut"
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(checkpoint(before)[key], checkpoint(after)[key], key)
    assert_same(comparable(lines(before)), comparable(lines(after)), "history")
    probes = without_new_fields(lines(after, "probes.jsonl"))
    assert_same(lines(before, "probes.jsonl"), probes, "probes")
    facts = read_facts(after / "train_facts.jsonl")
    found = without_fact_hashes(replay_of(checkpoint(after)), facts)
    assert_same(replay_of(checkpoint(before)), found, "replay")
    for stage in ("before", "subject_only", "after"):
        then = metrics(before, stage)
        now = metrics(after, stage)
        assert now.keys() - then.keys() <= NEW_METRICS
        assert_same(then, {name: now[name] for name in then}, stage)
    assert (after / "report.html").is_file()


@pytest.mark.slow
def test_resumed_as_it_is_it_keeps_what_it_had(folder: Path) -> None:
    """New questions differ, but nothing of before the interruption does."""
    run = folder / "cut"
    saved, rows, probes = checkpoint(run), lines(run), lines(run, "probes.jsonl")
    kept = {path: path.read_bytes() for path in (run / "evaluation").iterdir()}
    facts = read_facts(run / "train_facts.jsonl")
    assert train(read_run_config(run)) == Path("cut")
    after = checkpoint(run)
    assert (saved["global_step"], after["global_step"]) == (3, 6)
    assert lines(run)[:3] == rows
    assert [row["step"] for row in lines(run)] == [0, 1, 2, 3, 4, 5]
    assert without_new_fields(lines(run, "probes.jsonl"))[: len(probes)] == probes
    assert kept.items() <= {p: p.read_bytes() for p in (run / "evaluation").iterdir()}.items()
    replay = without_fact_hashes(replay_of(after), facts)
    for key, (_, entry) in replay_of(saved).items():
        assert_same(entry, replay[key][1], str(key))
    assert (run / "report.html").is_file()


def test_its_report_shows_the_same(folder: Path) -> None:
    """The sums of its tables have double precision now."""
    old = by_content(json.loads((folder / "whole" / "report_data.json").read_text()))
    new = by_content(data_of(write_report(folder / "whole")))
    then, now = comparable(old), comparable(new)
    assert_same(then, now, "report", rel=1e-7, absolute=1e-12)


def test_its_adapter_samples_the_same_questions(folder: Path) -> None:
    run = open_run(folder / "whole")
    facts = read_facts(folder / "whole" / "test_facts.jsonl")
    stored = lines(folder / "whole" / "evaluation", "after_questions.jsonl")
    records = list(run.generate(facts, 4, seed=run.config.seed))
    assert [r.question for r in records] == [row["question"] for row in stored]
    for record, row in zip(records, stored, strict=True):
        for key in ("log_pf", "log_p_question", "log_contradiction", "log_reward"):
            assert getattr(record, key) == pytest.approx(row[key], abs=1e-4), key


def test_its_namespace_is_still_its_own(folder: Path) -> None:
    """It identified models by file sizes. Resuming must not lose its replay."""
    recorded = json.loads((folder / "cut" / "replay.json").read_text())["namespace"]
    run = open_run("untrained", read_run_config(folder / "cut"))
    parts = (run.config, run.policy, run.oracle, run.judge)
    assert replay_namespace(*parts, folder / "cut") == recorded
    assert replay_namespace(*parts) != recorded


def test_its_scored_questions_are_still_its_own(folder: Path) -> None:
    """Settings that are new since it was made do not make it another sampler."""
    stored = replay_of(checkpoint(folder / "cut")).values()
    recorded = {entry["sampler"] for _, entry in stored}
    assert recorded == {sampler_fingerprint(read_run_config(folder / "cut"))}


def test_its_replay_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = json.loads((folder / "cut" / "replay.json").read_text())["namespace"]
    stored = replay_of(checkpoint(folder / "cut"))
    with open_embedded(folder / "cut", namespace) as store:
        assert store.size() == len(stored) > 0
    assert in_checkpoint(folder / "cut").size() == len(stored)
    assert main(["replay", "stats", f"run={folder / 'cut'}"]) == 0
    assert namespace in capsys.readouterr().out


def test_its_replay_gets_the_keys_of_its_facts(folder: Path) -> None:
    """Entries were stored by fact_id alone; one of a fact that the run lacks stays as it is."""
    run = folder / "cut"
    facts = read_facts(run / "train_facts.jsonl")
    namespace = json.loads((run / "replay.json").read_text())["namespace"]
    with open_embedded(run, namespace) as store:
        before = list(store.entries())
        foreign = msgspec.structs.replace(before[0].scored, fact_id="not of this run")
        store.add([foreign], [0.0])
    with open_replay(read_run_config(run), namespace, run, facts=facts) as store:
        after = [entry for entry in store.entries() if entry.scored != foreign]
        assert store.size("not of this run") == 1
        keys = {fact.fact_id: fact.key for fact in facts}
    assert [keys[entry.scored.fact_id] for entry in after] == [e.scored.fact_key for e in after]
    assert {(e.entry_id, e.priority) for e in after} == {(e.entry_id, e.priority) for e in before}


def test_its_checkpoint_holds_what_it_held(folder: Path) -> None:
    """The names of trained tensors and callbacks are part of the format."""
    saved = torch.load(folder / "cut" / "checkpoints" / "last.ckpt", weights_only=True)
    assert {"Validation"} <= set(saved["callbacks"])
    assert all(name.startswith("lora.") for name in saved["state_dict"])
