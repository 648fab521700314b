"""The model of `contraflow data filter-known`, and the facts that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.cli.preflight import check_models
from contraflow.errors import UserError
from contraflow.facts import Fact

if TYPE_CHECKING:
    from contraflow.settings import Config
    from contraflow.types import Oracle

_BATCH = 64  # facts that are asked about at a time


def write_known(facts: Sequence[Fact], out: Path, config: Config) -> int:
    """Write the known facts of each batch as soon as it is answered, and return their number.

    Raises: UserError where none is known; `out` stays as it was.
    """
    import msgspec

    from contraflow.facts.known import known_facts
    from contraflow.system.line_file import line_file
    from contraflow.system.progress import bar

    oracle = _open_oracle(config)
    with line_file(out) as lines, bar("querying the oracle", len(facts)) as progress:
        for start in range(0, len(facts), _BATCH):
            for fact in known_facts(facts[start : start + _BATCH], oracle, progress.advance):
                lines.write(msgspec.json.encode(fact))
        if lines.count == 0:
            raise UserError(
                f"out={out}: not written, as the oracle knows none of the {len(facts)} facts; name "
                "another oracle (model=…, oracle.name=…), or check original_answer in the facts"
            )
    return lines.count


def check_oracle_alone(config: Config) -> None:
    """Check the one model that is asked, and of a delta the backbone that it stands on.

    Raises: UserError.
    """
    name = config.oracle.name
    if name is None:
        check_models(config, ("sampler",))
        return
    from contraflow.models.weights.sources import source_of

    if source_of(name).form == "delta":
        check_models(config, ("sampler", "oracle"))
    else:
        check_models(config, ("oracle",))


def _open_oracle(config: Config) -> Oracle:
    """Load the model that is asked, and no sampler where the oracle needs none of it."""
    from contraflow.run.build import load_lm, load_oracle

    name = config.oracle.name
    if name is not None:
        form = _form(name)
        if form in ("served", "adapter"):
            from contraflow.run.answerers import open_answerer

            return open_answerer(name, config=config).oracle("few_shot")
        if form == "model":  # in the sampler's place, so that one model is loaded
            model = replace(config.model, name=name)
            config = replace(config, model=model, oracle=replace(config.oracle, name=None))
    return load_oracle(config, load_lm(config))


def _form(name: str) -> str:
    """The form of a source; one on the hub, which is fetched by now, may be an adapter."""
    from contraflow.models.weights.sources import check_source, source_of

    form = source_of(name).form
    return check_source(name).form if form == "model" else form
