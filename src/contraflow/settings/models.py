"""Settings of sampler, oracle and judge, of the prompts, and of the questions' form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from contraflow.settings.ranges import check, check_choice
from contraflow.settings.served import ServedConfig


@dataclass
class LoraConfig:
    r: int = 16
    alpha: int = 32
    # null: PEFT's default for the architecture; [all-linear]: every linear layer.
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        check(self.r >= 1, "model.lora.r", self.r, "at least 1")
        check(self.alpha > 0, "model.lora.alpha", self.alpha, "above 0")


@dataclass
class ModelConfig:
    # packaged:NAME, a folder, or a hub name.
    name: str = "packaged:smollm2-135m-instruct"
    dtype: str = "float32"
    device: str = "auto"
    # 8bit or 4bit: bitsandbytes quantizes the frozen weights of sampler and oracle.
    quantize: str | None = None
    # Less memory, a longer backward pass, the same gradients.
    gradient_checkpointing: bool = False
    # A run, or the folder of its adapter, whose weights a new run starts from; null: none.
    adapter: str | None = None
    # static: fixed shapes, as CUDA graphs; eager: only the unfinished rows; auto: static on CUDA.
    decoding: str = "auto"
    # Whether static decoding compiles the layers (torch.compile); auto: on CUDA.
    compile: str = "auto"
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        check_choice("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        check_choice("model.decoding", self.decoding, ("auto", "eager", "static"))
        check_choice("model.compile", self.compile, ("auto", "on", "off"))
        mps = " (Apple GPUs are not supported; cpu works there)" if "mps" in self.device else ""
        known = re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None
        check(known, "model.device", self.device, f"auto, cpu, cuda or cuda:N{mps}")
        if self.quantize is not None:
            check_choice("model.quantize", self.quantize, ("8bit", "4bit"))


@dataclass
class OracleConfig:
    # null: the frozen backbone of the sampler. Else a folder or hub name of any causal LM, the
    # folder of a PEFT adapter, a delta.safetensors for model.name, or openai:URL#MODEL.
    name: str | None = None
    max_answer_tokens: int = 20
    batch_size: int = 64
    served: ServedConfig = field(default_factory=ServedConfig)

    def __post_init__(self) -> None:
        check(
            self.max_answer_tokens >= 1,
            "oracle.max_answer_tokens",
            self.max_answer_tokens,
            "at least 1",
        )
        check(self.batch_size >= 1, "oracle.batch_size", self.batch_size, "at least 1")


@dataclass
class JudgeConfig:
    # packaged:minilm, or any sequence-classification NLI checkpoint.
    name: str = "packaged:minilm"
    # For checkpoints that name their labels LABEL_0 ….
    label_order: list[str] | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check(self.batch_size >= 1, "judge.batch_size", self.batch_size, "at least 1")
        order = self.label_order
        known = order is None or sorted(order) == ["contradiction", "entailment", "neutral"]
        check(
            known,
            "judge.label_order",
            order,
            "entailment, neutral and contradiction in the checkpoint's order",
        )


@dataclass
class PromptConfig:
    task: str = ""
    answer: str = ""


@dataclass
class PolicyConfig:
    vocabulary: str = "latin"
    min_question_len: int = 4
    max_question_len: int = 18

    def __post_init__(self) -> None:
        check_choice("policy.vocabulary", self.vocabulary, ("printable_ascii", "latin", "all"))
        check(
            self.min_question_len >= 1,
            "policy.min_question_len",
            self.min_question_len,
            "at least 1",
        )
        check(
            self.max_question_len >= self.min_question_len,
            "policy.max_question_len",
            self.max_question_len,
            f"at least min_question_len={self.min_question_len}",
        )
