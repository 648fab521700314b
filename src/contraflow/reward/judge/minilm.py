"""The packaged judge: all-MiniLM-L6-v2 as a cross-encoder, with a LoRA adapter and a 3-way head.

The head is beside the PEFT model, not in `modules_to_save`, so that both parts load strictly.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from contraflow.errors import UserError
from contraflow.models.weights.adapters import quiet_peft
from contraflow.reward.judge.batching import cut_premises
from contraflow.reward.judge.probes import self_test
from contraflow.reward.judge.recorded import ROUNDING, RecordedNetwork
from contraflow.reward.judge.scores import LABELS, NliScores
from contraflow.reward.judge.scoring import EXACT, Batch, PairScorer
from contraflow.settings.models import JudgeConfig

ADAPTER_FILE = "adapter_model.safetensors"
HEAD_FILE = "head.safetensors"
META_FILE = "judge.json"


@dataclass(frozen=True)
class JudgeSpec:
    """The content of `judge.json`: everything to rebuild the network besides the weight files."""

    format_version: int = 1
    labels: tuple[str, ...] = LABELS
    backbone: str = "all-MiniLM-L6-v2"
    backbone_sha256: str = ""
    hidden_size: int = 384
    head_size: int = 256
    lora_rank: int = 32
    lora_alpha: int = 64
    lora_targets: tuple[str, ...] = (
        "query",
        "key",
        "value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
    max_length: int = 192
    temperature: float = 1.0


class PairHead(nn.Module):
    """Three logits from [CLS] and the mean states of both texts.

    The difference and product of the two means make "same sentence, other name" linearly visible.
    """

    def __init__(self, hidden_size: int, head_size: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.inner = nn.Linear(5 * hidden_size, head_size)
        self.outer = nn.Linear(head_size, len(LABELS))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Float[Tensor, "b t h"], segments: Int[Tensor, "b t"], mask: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b 3"]:
        """Logits; `segments` is 0 on premise and 1 on hypothesis tokens, `mask` is 0 on padding."""
        first = _mean(states, mask * (1 - segments))
        second = _mean(states, mask * segments)
        features = torch.cat(
            [states[:, 0], first, second, (first - second).abs(), first * second], dim=-1
        )
        hidden = nn.functional.gelu(self.inner(self.dropout(features)))
        logits: Float[Tensor, "b 3"] = self.outer(self.dropout(hidden))
        return logits


def _mean(states: Float[Tensor, "b t h"], weight: Int[Tensor, "b t"]) -> Float[Tensor, "b h"]:
    """Mean state over the tokens of weight 1."""
    weights = weight[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


class PairNetwork(nn.Module):
    """Backbone with LoRA, and the head."""

    def __init__(self, backbone: nn.Module, head: PairHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, batch: dict[str, Int[Tensor, "b t"]]) -> Float[Tensor, "b 3"]:
        """Uncalibrated logits of a tokenized batch."""
        states = self.backbone(**batch).last_hidden_state.float()
        logits: Float[Tensor, "b 3"] = self.head(
            states, batch["token_type_ids"], batch["attention_mask"]
        )
        return logits


def build_network(backbone_folder: Path, spec: JudgeSpec) -> PairNetwork:
    """A new network with LoRA on every linear layer of the encoder; the pooler is removed."""
    if not (backbone_folder / "config.json").is_file():
        raise UserError(
            f"no MiniLM backbone in {backbone_folder}; run `contraflow models download` first"
        )
    backbone = AutoModel.from_pretrained(
        backbone_folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    backbone.pooler = None
    config = LoraConfig(
        r=spec.lora_rank, lora_alpha=spec.lora_alpha, target_modules=list(spec.lora_targets)
    )
    with quiet_peft():
        adapted = get_peft_model(backbone, config)
    return PairNetwork(adapted, PairHead(spec.hidden_size, spec.head_size))


def save_judge(network: PairNetwork, spec: JudgeSpec, folder: Path) -> None:
    """Write the three files of the judge folder.

    Weights are written in float16, which is enough for inference and keeps the files small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    adapter = get_peft_model_state_dict(network.backbone)
    save_file(_to(torch.float16, adapter), folder / ADAPTER_FILE)
    save_file(_to(torch.float16, network.head.state_dict()), folder / HEAD_FILE)
    (folder / META_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")


def load_spec(folder: Path) -> JudgeSpec:
    """Read `judge.json`. An unknown key, format or label order is an error."""
    file = folder / META_FILE
    if not file.is_file():
        raise UserError(
            f"{folder} holds no judge ({META_FILE} is missing); "
            "point judge.adapter at a judge folder"
        )
    fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if fields.get("format_version") != 1 or tuple(fields.get("labels", ())) != LABELS:
        raise UserError(
            f"{file}: unknown format or label order; "
            f"this version reads format 1 with labels {LABELS}"
        )
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return JudgeSpec(**{**fields, **lists})


def load_network(backbone_folder: Path, folder: Path) -> PairNetwork:
    """The trained network in float32. Missing or unknown weights are an error."""
    spec = load_spec(folder)
    network = build_network(backbone_folder, spec)
    adapter = load_file(folder / ADAPTER_FILE)
    wanted = set(get_peft_model_state_dict(network.backbone))
    if set(adapter) != wanted:
        n_different = len(wanted ^ set(adapter))
        raise UserError(
            f"{folder / ADAPTER_FILE} does not fit {META_FILE}: {n_different} keys differ"
        )
    set_peft_model_state_dict(network.backbone, _to(torch.float32, adapter))
    network.head.load_state_dict(_to(torch.float32, load_file(folder / HEAD_FILE)))
    return network


class PackagedJudge:
    """The packaged judge behind the `Judge` interface."""

    def __init__(
        self,
        backbone_folder: Path | str,
        folder: Path | str,
        settings: JudgeConfig | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        backbone_folder = Path(backbone_folder)
        folder = Path(folder)
        self._spec = load_spec(folder)
        network = load_network(backbone_folder, folder)
        backbone_digest = _checked_digest(backbone_folder, self._spec)
        # The adapter is never disabled here, and merged weights cost no extra time.
        network.backbone = cast(Any, network.backbone).merge_and_unload()
        self._network = network.eval().requires_grad_(False).to(device)
        self._tokenizer = AutoTokenizer.from_pretrained(backbone_folder)
        self._score = PairScorer(
            RecordedNetwork(self._log_probs, torch.device(device)),
            self._tokenizer,
            self._spec.max_length,
            (settings or JudgeConfig()).batch_size,
            device,
            ROUNDING if torch.device(device).type == "cuda" else EXACT,
        )
        self.identity = _identity(folder, backbone_digest)
        self_test(self.score, str(folder))

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        """Calibrated log-probabilities, rows in the order given."""
        return NliScores(self._score(premises, hypotheses))

    def cut_premises(
        self, premises: Sequence[str], hypotheses: Sequence[str] | None = None
    ) -> list[int]:
        """Positions of the premises that are too long for this judge; see `cut_premises`."""
        return cut_premises(self._tokenizer, premises, hypotheses, self._spec.max_length)

    def _log_probs(self, batch: Batch) -> Float[Tensor, "n 3"]:
        logits: Float[Tensor, "n 3"] = self._network(batch) / self._spec.temperature
        return logits.log_softmax(-1)


def weights_digest(backbone_folder: Path) -> str:
    """Digest of the backbone's weight files: the adapter is valid for these weights only."""
    digest = hashlib.sha256()
    for weights in sorted(backbone_folder.glob("*.safetensors")):
        with weights.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _checked_digest(backbone_folder: Path, spec: JudgeSpec) -> str:
    digest = weights_digest(backbone_folder)
    if spec.backbone_sha256 not in {"", digest}:
        raise UserError(
            f"{backbone_folder} is not the {spec.backbone} that the judge was trained on "
            "(its weights differ); run `contraflow models download`"
        )
    return digest


def _identity(folder: Path, backbone_digest: str) -> str:
    """A hash of the bytes that decide the scores; it does not depend on the place of the folder."""
    digest = hashlib.sha256(backbone_digest.encode())
    for name in (ADAPTER_FILE, HEAD_FILE, META_FILE):
        digest.update((folder / name).read_bytes())
    return f"minilm-judge:{digest.hexdigest()[:16]}"


def _to(dtype: torch.dtype, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().to(dtype).contiguous() for key, value in state.items()}
