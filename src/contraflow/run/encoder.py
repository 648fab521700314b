"""The packaged sentence encoder: whether a run needs it, and whether it can be had."""

from __future__ import annotations

from functools import cache

from contraflow.errors import UserError
from contraflow.models.weights.packaged import packaged_folder
from contraflow.settings import Config
from contraflow.system.progress import print_plain

ENCODER = "all-minilm-l6-v2"


@cache
def why_no_encoder() -> str | None:
    """Prepare the packaged sentence encoder: None where it is there, or why it cannot be had.

    Two metrics need it. A machine that has its models in folders, and no network, does without.
    The reason is printed once.
    """
    try:
        packaged_folder(ENCODER)
    except UserError as error:
        print_plain(f"the metrics embedding_distance and vendi are left out: {error}")
        return str(error)
    return None


def check_encoder(config: Config) -> None:
    """Prepare the sentence encoder before any model loads, if the run will use it.

    Raises: UserError where it is needed and cannot be had.
    """
    if config.replay.near_duplicate_by == "embedding":
        try:
            packaged_folder(ENCODER)
        except UserError as error:
            raise UserError(
                f"replay.near_duplicate_by=embedding needs the packaged encoder: {error}; or set "
                "replay.near_duplicate_by=tokens"
            ) from None
    # The packaged judge is the same model, and is prepared, or refused, with the others.
    elif config.evaluation.enabled and not config.judge.name.startswith("packaged:"):
        why_no_encoder()
