"""What identifies a sampler: the settings that its weights at a given step depend on.

A resumed run takes over what its own sampler has scored. So the hash of a run must stay the same
when later versions have more settings.
"""

from __future__ import annotations

import hashlib
import json

from contraflow.models.weights.identity import file_digest
from contraflow.policy.adapter import ADAPTER_WEIGHTS, adapter_folder
from contraflow.run.own_objects import NO_OWN, OwnObjects
from contraflow.settings import MAY_CHANGE, Config, flat, shown_settings

# Keys that do not affect the weights of a sampler at a given step.
# An adapter to start from counts by its content.
# Actors score, and the learner's fingerprint finds nothing of theirs to score again.
_OF_ACTORS = tuple(f"exchange.{key}" for key in ("newest_share", "publish_every", "max_"))
_SHOWN_ONLY = (
    "trainer.show_after",
    "evaluation.target_",
    "evaluation.training_facts",
    "evaluation.untrained",
    "evaluation.distinct",
    "evaluation.proportion_of",
)
_LEFT_OUT = (*MAY_CHANGE, "oracle.served.", "model.adapter", *_OF_ACTORS, *_SHOWN_ONLY)

# Settings that runs of earlier versions lack. At its default, such a setting changes nothing.
_ADDED = (
    "objective.penalty",
    "objective.alpha",
    "objective.forward_kl",
    "objective.beta",
    "exploration.distinct",
    "exploration.prior_share",
    "exploration.correct_replay",
    "exploration.n_stored",
)


def sampler_fingerprint(config: Config, own: OwnObjects = NO_OWN) -> str:
    """Identify a sampler: a hash of what its weights at a given step depend on.

    That is settings, and the objects that a caller gives in place of those of the settings.
    """
    default = flat(shown_settings(Config()))
    settings = flat(shown_settings(config))
    deciding = {
        key: value
        for key, value in settings.items()
        if not key.startswith(_LEFT_OUT) and not (key.startswith(_ADDED) and value == default[key])
    }
    if config.model.adapter is not None:
        weights = adapter_folder(config.model.adapter) / ADAPTER_WEIGHTS
        deciding["model.adapter"] = file_digest(weights)
    deciding |= own.settings
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
