"""Any Hugging Face NLI checkpoint (sequence classification) as a judge.

The label order is read from the checkpoint, or found with the probes, and never assumed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from contraflow.errors import UserError
from contraflow.reward.judge.batching import cut_premises
from contraflow.reward.judge.probes import PROBES, self_test
from contraflow.reward.judge.recorded import ROUNDING, RecordedNetwork, remember_positions
from contraflow.reward.judge.relative import share_positions
from contraflow.reward.judge.scores import LABELS, NliScores
from contraflow.reward.judge.scoring import EXACT, Batch, PairScorer
from contraflow.settings.models import JudgeConfig

# Matched against the whole label: `not_contradiction` is not a contradiction label.
_SPELLINGS = {
    "entailment": re.compile(r"entail(ment|s|ed)?"),
    "neutral": re.compile(r"neutral"),
    "contradiction": re.compile(r"contradict(ion|ory|s|ed)?"),
}
_NAMELESS = re.compile(r"label_\d+")


class NliJudge:
    """A cross-encoder from the hub or a folder.

    `settings.label_order` names the outputs of a checkpoint that calls them LABEL_0, LABEL_1, …;
    without it the order of such a checkpoint is found with the probes. Raises UserError where the
    checkpoint does not exist, has no contradiction label, or fails the self-test.
    """

    def __init__(
        self,
        name: str | Path,
        settings: JudgeConfig | None = None,
        *,
        max_length: int = 256,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        probe: bool = True,
    ) -> None:
        settings = settings or JudgeConfig()
        config = _load(AutoConfig, name)
        # Checked before the weights are loaded, which is the slow part.
        named = named_columns(config.id2label, str(name), settings.label_order)
        self._tokenizer = _load(AutoTokenizer, name)
        # float32 on a CPU, also for checkpoints stored in half precision. Attention is the model's
        # default: eager for DeBERTa v2/v3, which has no other.
        dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
        model = _load(AutoModelForSequenceClassification, name, dtype=dtype)
        self._model = model.eval().requires_grad_(False).to(device)
        remember_positions(self._model)
        share_positions(self._model)
        self._max_length = min(max_length, *_length_limits(config, self._tokenizer))
        self._raw = PairScorer(
            RecordedNetwork(self._log_probs, torch.device(device), dtype=dtype),
            self._tokenizer,
            self._max_length,
            settings.batch_size,
            device,
            ROUNDING if torch.device(device).type == "cuda" else EXACT,
        )
        self._columns = named if named is not None else self._columns_by_probes(str(name))
        self.identity = (
            f"nli:{_content(name, config)}:{''.join(map(str, self._columns))}:{self._max_length}"
            f"{_precision(dtype)}"
        )
        if probe:
            self_test(self.score, str(name))

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        """Log-probabilities in the order of LABELS, rows in the order given."""
        log_probs = self._raw(premises, hypotheses)
        return NliScores(log_probs[:, list(self._columns)])

    def cut_premises(
        self, premises: Sequence[str], hypotheses: Sequence[str] | None = None
    ) -> list[int]:
        """Positions of the premises that are too long for this judge; see `cut_premises`."""
        return cut_premises(self._tokenizer, premises, hypotheses, self._max_length)

    def _log_probs(self, batch: Batch) -> Float[Tensor, "n 3"]:
        """Log-probabilities in the checkpoint's own column order."""
        log_probs: Float[Tensor, "n 3"] = self._model(**batch).logits.float().log_softmax(-1)
        return log_probs

    def _columns_by_probes(self, name: str) -> tuple[int, ...]:
        premises, hypotheses, labels = zip(*PROBES, strict=True)
        log_probs = self._raw(premises, hypotheses)
        return columns_by_probes(log_probs, labels, name)


def named_columns(
    id2label: Mapping[int, str], name: str, label_order: Sequence[str] | None = None
) -> tuple[int, ...] | None:
    """The checkpoint's column for each of LABELS; None where it does not name its three outputs.

    Raises: UserError where the labels are not those of a 3-way NLI checkpoint.
    """
    names = {int(index): str(label).lower().strip() for index, label in id2label.items()}
    if label_order is not None:
        if sorted(label_order) != sorted(LABELS) or len(names) != len(LABELS):
            raise UserError(
                f"judge {name}: label_order must name {', '.join(LABELS)}, "
                "one for each of its outputs"
            )
        return tuple(list(label_order).index(label) for label in LABELS)
    if len(names) == len(LABELS) and all(_NAMELESS.fullmatch(label) for label in names.values()):
        return None
    columns: dict[str, list[int]] = {}
    for wanted in LABELS:
        spelling = _SPELLINGS[wanted]
        columns[wanted] = [index for index, label in names.items() if spelling.fullmatch(label)]
    if len(names) != len(LABELS) or any(len(indices) != 1 for indices in columns.values()):
        lacks = "no 3-way NLI labels" if columns["contradiction"] else "no contradiction label"
        raise UserError(
            f"judge {name} has {lacks} (it has {', '.join(names.values())}); choose a checkpoint "
            "that tells entailment, neutral and contradiction, or name its outputs with "
            "judge.label_order"
        )
    return tuple(columns[wanted][0] for wanted in LABELS)


def columns_by_probes(
    raw: Float[Tensor, "n 3"], labels: Sequence[str], name: str
) -> tuple[int, ...]:
    """The column order under which the judge classifies the probes correctly.

    Raises: UserError where every order misses more than one probe, or two orders are equally good.
    """
    truth = [LABELS.index(label) for label in labels]
    predicted = raw.argmax(-1).tolist()

    def n_correct(columns: tuple[int, ...]) -> int:
        pairs = zip(truth, predicted, strict=True)
        return sum(columns[wanted] == column for wanted, column in pairs)

    best, second = sorted(permutations(range(len(LABELS))), key=n_correct, reverse=True)[:2]
    if n_correct(best) < len(truth) - 1 or n_correct(best) == n_correct(second):
        raise UserError(
            f"judge {name} does not name its labels, and the probe pairs do not settle their "
            f"order; set judge.label_order, for example [{', '.join(LABELS)}]"
        )
    return best


def _load(loader: Any, name: str | Path, **options: Any) -> Any:
    try:
        return loader.from_pretrained(str(name), **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        folder = Path(name)
        unconverted = folder.is_dir() and not (folder / "tokenizer.json").is_file()
        if loader is AutoTokenizer and unconverted:
            raise UserError(
                f"judge {name}: its tokenizer could not be loaded ({reason}); the folder has no "
                "tokenizer.json, and to convert an spm.model takes "
                "`pip install sentencepiece protobuf`"
            ) from error
        raise UserError(
            f"judge {name} could not be loaded ({reason}); check the name, fetch it with "
            "`contraflow models download`, or use judge=minilm"
        ) from error


def _length_limits(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Upper limits of the input length, in tokens, by the tokenizer and by the model.

    RoBERTa-like models do not use the positions up to their padding id.
    """
    limits = [int(tokenizer.model_max_length)]
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        unused = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
        limits.append(int(positions - unused))
    return tuple(limits)


def _precision(dtype: torch.dtype) -> str:
    """The part of an identity that names the dtype of the weights in use; empty for float32."""
    return "" if dtype == torch.float32 else f":{str(dtype).removeprefix('torch.')}"


def _content(name: str | Path, config: Any) -> str:
    """Name and revision of a hub checkpoint; a digest of the files of a local folder."""
    folder = Path(name)
    if not folder.is_dir():
        return f"{name}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.json")]
    for file in sorted(files):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
