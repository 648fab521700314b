"""How often the host waits for the device in a whole training step, on a CPU that stands for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contraflow.experience.stream import StepFacts
from support.waits import OnDevice, counted_waits
from support.work import FACTS, judge_folder, training_module

pytestmark = pytest.mark.filterwarnings("ignore")

# A few for each phase; none for a question, a token, a row of the tree or a metric.
MOST = 20


def test_a_step_waits_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled, answered, judged, learned and measured; with the decoding that a GPU uses.

    The second step is counted: at the first one, tables that stay are read.
    """
    module, _ = training_module(judge_folder(tmp_path))
    lm = module.policy.lm
    lm.decoding, lm.compiling = "static", "off"
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for step in (0, 1):
        with counted_waits(monkeypatch) as waits:
            module.training_step(StepFacts(step, tuple(FACTS)), 0).backward()
            optimizer.step()
    # The judge of a GPU is recorded, and does not look at its mask.
    of_judge = sum(n for place, n in waits.found.items() if place.startswith("__bool__"))
    places = "\n".join(f"{n} {place}" for place, n in waits.found.most_common())
    assert 5 < waits.found.total() - of_judge <= MOST, places


def test_the_counter_sees_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight waits in the first block, none in the second."""
    device = torch.device("cpu")
    with counted_waits(monkeypatch) as waits:
        x = torch.arange(4, device=device)
        assert isinstance(x * 2 + torch.ones(4), OnDevice)
        assert float(x[1]) == 1 and bool(x.sum() > 0) and (2 * x).tolist()[-1] == 6
        for wait in (x.nonzero, lambda: x[x > 1], x.unique, x.cpu):
            wait()
        torch.tensor([1.0], device=device)
    assert waits.found.total() == 8
    with counted_waits(monkeypatch) as waits:
        host = torch.arange(4)
        assert float(host[1]) == 1 and host.tolist() == [0, 1, 2, 3]
        x = torch.arange(4, device=device)
        (x[torch.tensor([1])] + x.sum()).masked_fill(x[:1] > 0, 0)
    assert waits.found.total() == 0
