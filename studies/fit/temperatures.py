"""Measures a finished run at other sampling temperatures, on its own test facts.

    python -m studies.fit.temperatures runs/x --device cuda 0.7 1.3

Writes `evaluation/after_T0.7.json` and so on; those that are there are kept. log P_F is then that
of the tempered sampler, and slope and Var(log R - log P_F) say nothing about training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from contraflow import open_run
from contraflow.evaluation.metrics import write_metrics
from contraflow.facts import read_facts
from contraflow.run.session import read_run_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("temperatures", nargs="+")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    measure(args.folder, args.temperatures, args.device)


def measure(folder: Path, temperatures: list[str], device: str) -> None:
    """Measure the run at each temperature. Raises: UserError when the run is not finished."""
    config = read_run_config(folder)
    config.model.device = device
    has_adapter = (folder / "adapter").is_dir()
    run = open_run(folder if has_adapter else "untrained", config)
    facts = read_facts(folder / "test_facts.jsonl")
    for value in temperatures:
        path = folder / "evaluation" / f"after_T{value}.json"
        if path.is_file():
            continue
        metrics, _ = run.evaluate(
            facts, config.evaluation.n_samples, temperature=float(value), seed=config.seed
        )
        write_metrics(path, metrics)


if __name__ == "__main__":
    main()
