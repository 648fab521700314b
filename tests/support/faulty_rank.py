"""One rank of a tiny training run that fails in a given way.

`support.faulty_rank:main` with FOLDER and PLAN, or `-m support.faulty_rank FOLDER PLAN` for a
process of its own, which watches its launcher.

PLAN is a JSON object with the keys `name`, `kind` (of exchange), `store` (of replay), `timeout_s`,
`trainer` (settings to change), `recomputes` (gradient checkpointing), and `rank`, which fails at
`step`. How it fails: `user` or `bug` (the text of an exception), `kill` (SIGKILL, once), `sleep`
(seconds in each call of the oracle), `wait` (until it is ended from outside).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from contraflow.cli.failures import report_failure
from contraflow.distributed.launch import end_with_launcher
from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.errors import UserError
from contraflow.models.causal_lm import CausalLM
from contraflow.models.layers.recompute import recompute_layers
from contraflow.run import build
from contraflow.settings import ExchangeConfig, ReplayConfig
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support import runs
from support.models import fresh_lm
from support.tables import RecordingOracle


def go_wrong(folder: Path, plan: dict[str, Any]) -> None:
    if "user" in plan:
        raise UserError(plan["user"])
    if "bug" in plan:
        raise ZeroDivisionError(plan["bug"])
    if "wait" in plan:
        (folder / "waits").touch()
        time.sleep(60)
    killed = folder / "killed"
    if "kill" in plan and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def install(folder: Path, plan: dict[str, Any], rank: int) -> None:
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if rank == plan.get("rank") and item.step == plan["step"]:
            go_wrong(folder, plan)
        return original(self, item, index)

    class SlowOracle(RecordingOracle):
        def answer(self, questions: Any) -> Any:
            time.sleep(plan.get("sleep", 0.0))
            return super().answer(questions)

    SamplerModule.training_step = training_step
    runs.use_tiny_parts(setattr)
    build.load_oracle = lambda *_: SlowOracle()
    if plan.get("recomputes"):
        build.load_lm = lambda *_, **__: recomputing_lm()
    job.write_report = lambda folder: folder / "report.html"
    job.print_summary = lambda *_: None


def recomputing_lm() -> CausalLM:
    lm = fresh_lm()
    recompute_layers(lm.model)
    return lm


def main(words: list[str]) -> int:
    warnings.filterwarnings("ignore")
    folder, plan = Path(words[0]), json.loads(words[1])
    place = rank_info_from_environment()
    install(folder, plan, 0 if place is None else place.rank)
    config = runs.tiny_config(folder, plan.get("name", "run"))
    config = replace(
        config,
        exchange=ExchangeConfig(plan.get("kind", "scatter"), timeout_s=plan.get("timeout_s", 60.0)),
        replay=ReplayConfig(store=plan.get("store", "memory")),
        trainer=replace(config.trainer, **plan.get("trainer", {})),
    )
    try:
        job.train(config)
    except BaseException as error:
        return report_failure(error)
    return 0


if __name__ == "__main__":
    end_with_launcher()
    sys.exit(main(sys.argv[1:]))
