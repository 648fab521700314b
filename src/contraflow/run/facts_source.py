"""Whether the facts file of a run still has the facts that the run started with.

A run keeps the facts that it chose, so a correction of the file would be without effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.run.own_files import FACTS_SOURCE, remove_chosen
from contraflow.settings import Config
from contraflow.system.checkpoint_file import LAST
from contraflow.system.files import write_atomically


def check_facts_source(config: Config, folder: Path, facts: Sequence[Fact]) -> None:
    """Compare the facts of `data.facts` with those that the run started with, by their hash.

    Before the first checkpoint, changed facts are chosen and measured again. The packaged facts
    are not compared: a run goes on after an update of contraflow.

    Args:
        facts: all that the file has now. Order counts, as the choice depends on it; spaces and
            unknown fields of the file do not.
    Raises: UserError for changed facts once there is a checkpoint, with the remedies.
    """
    if config.data.facts is None:
        return
    path = folder / FACTS_SOURCE
    now = _hash_of(facts)
    has_changed = path.is_file() and _recorded(path) != now
    if (folder / "checkpoints" / LAST).exists():
        if has_changed:
            raise UserError(
                f"data.facts={config.data.facts}: has other facts than when {folder} started; put "
                "the old facts back, choose another name=… for these, or remove "
                f"{path} to go on with the facts that the run chose"
            )
        return
    if has_changed:
        remove_chosen(folder)
    write_atomically(path, json.dumps({"hash": now}).encode())


def _hash_of(facts: Sequence[Fact]) -> str:
    keys = "\n".join(fact.key for fact in facts)
    return hashlib.blake2b(keys.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _recorded(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["hash"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(
            f"{path}: was cut or damaged; copy it again, or remove it to go on with the facts that "
            "the run chose"
        ) from None
