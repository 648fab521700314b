"""What a checkpoint of a run with actors holds besides weights and replay."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import pytest
import torch

from contraflow.gflownet.objectives import VarGrad
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.settings.running import ExchangeConfig
from contraflow.training.publishing import Publishing
from support.actors import KEEP_ALL, ThreadPool, space_learner, space_of, space_worker
from support.exact_actors import fit_space

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_resumed_run_has_the_next_assignment_and_all_uses(tmp_path: Path):
    settings = ExchangeConfig(kind="actors", actors=1, newest_share=0.5, max_reuse=3)
    with EmbeddedReplay("exact", KEEP_ALL, tmp_path) as server:
        pool = ThreadPool(1, partial(space_worker, server.url))
        space = space_of()
        learner = space_learner(space, server.url, settings, pool)
        fit_space(space, learner, VarGrad(), 4)
        # As Lightning stores it, and as a checkpoint is read: without unpickling objects.
        file = io.BytesIO()
        torch.save(Publishing(learner).state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)

        other_pool = ThreadPool(2, partial(space_worker, server.url))
        resumed = space_learner(space_of(), server.url, settings, other_pool)
        Publishing(resumed).load_state_dict(state)
        assert resumed.exchange.ledger.assign().number == learner.exchange.ledger.next_number > 0
        entries = [entry.scored for entry in resumed.replay.entries()]
        used = [learner.uses.of(scored) for scored in entries]
        assert [resumed.uses.of(scored) for scored in entries] == used and max(used) > 1
        resumed.exchange.close()
        resumed.replay.close()
