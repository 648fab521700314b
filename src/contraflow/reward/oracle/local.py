"""A model in memory that can be asked in every style, in one state of its weights.

Several answerers may stand on one module: an unedited model, and edits of it that are switched on
around each call. Every oracle keeps its own prefilled examples, which belong to its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from contraflow.models.attention import shared_prefix
from contraflow.models.attention.architecture import UnsupportedArchitectureError
from contraflow.models.causal_lm import CausalLM, Compiling, Decoding
from contraflow.models.probe import checked_lm
from contraflow.models.weights.weight_states import (
    State,
    as_it_is,
    attention_of,
    in_order,
    restoring,
    with_attention,
)
from contraflow.reward.oracle.forcing import forced
from contraflow.reward.oracle.frozen import FrozenLMOracle
from contraflow.reward.oracle.generating import GeneratingOracle
from contraflow.reward.oracle.styles import ends_at_line_break, style_prompt
from contraflow.settings.models import OracleConfig
from contraflow.system.progress import print_plain
from contraflow.types import Answer, AskStyle, Forced, Oracle


@dataclass
class Base:
    """A module with its tokenizer, on which answerers stand.

    identity: of its content. attention: the implementations it came with, by config.
    peft_model: the PeftModel around it, once an adapter was added; its adapters are off by default.
    """

    module: nn.Module
    tokenizer: Any
    identity: str
    attention: Mapping[int, tuple[Any, Any]]
    decoding: Decoding = "auto"
    compiling: Compiling = "auto"
    peft_model: Any = None

    @classmethod
    def of(
        cls,
        module: nn.Module,
        tokenizer: Any,
        identity: str,
        decoding: Decoding,
        compiling: Compiling = "auto",
    ) -> Base:
        """A base as it is now."""
        return cls(module, tokenizer, identity, attention_of(module), decoding, compiling)


@dataclass(frozen=True)
class Asking:
    """The settings of answers: the text of `prompt.answer`, and those of the oracle."""

    few_shot: str
    oracle: OracleConfig


class LocalAnswerer:
    """A model in memory, asked in several styles; usable as a context manager.

    Args:
        module: what generates: a transformers model, a PeftModel, or an editor's wrapper.
        lm: the same model for the fast oracle; None: by its own `generate()`.
        state: switches the weights on; entered around each call.
    """

    def __init__(
        self,
        base: Base,
        asking: Asking,
        *,
        name: str,
        identity: str,
        module: nn.Module | None = None,
        lm: CausalLM | None = None,
        state: State = as_it_is,
    ) -> None:
        self.name = name
        self.identity = identity
        self.base = base
        self.lm = lm
        self._asking = asking
        self._module = base.module if module is None else module
        self._state = state
        self._oracles: dict[AskStyle, Oracle] = {}

    def oracle(self, style: AskStyle) -> Oracle:
        """The model asked in one style; the same object each time.

        Raises: UserError for a style that the model does not have, and for examples that are longer
            than it reads.
        """
        if style not in self._oracles:
            self._oracles[style] = self._new_oracle(style)
        return self._oracles[style]

    def _new_oracle(self, style: AskStyle) -> Oracle:
        prompt = style_prompt(style, self._asking.few_shot, self.base.tokenizer)
        settings = self._asking.oracle
        one_line = ends_at_line_break(style)
        if self.lm is None:
            generating = GeneratingOracle(
                self._module,
                self.base.tokenizer,
                prompt,
                settings,
                self.identity,
                line_breaks_end=one_line,
            )
            return _StatefulOracle(generating, self._state)
        with self._fast_state()():
            fast = FrozenLMOracle(
                self.lm,
                prompt,
                settings,
                line_breaks_end=one_line,
                model_identity=self.identity,
            )
        return fast if self._state is as_it_is else _StatefulOracle(fast, self._fast_state())

    def _fast_state(self) -> State:
        assert self.lm is not None
        return in_order(self._state, with_attention(self.lm.model, shared_prefix.NAME))

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced]:
        """Read targets behind prompts by plain forward passes.

        Raises: UserError for a text longer than the model reads; ValueError for unequal numbers.
        """
        frozen: AbstractContextManager[None] = (
            nullcontext() if self.lm is None else self.lm.frozen()
        )
        with in_order(self._state, restoring(self.base.attention))(), frozen:
            return forced(self._module, self.base.tokenizer, prompts, targets)

    def close(self) -> None:
        """Forget oracles, with their answers and prefilled examples. The module stays as it is."""
        self._oracles.clear()

    def __enter__(self) -> LocalAnswerer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _StatefulOracle:
    """An oracle whose model is in another state between its calls."""

    def __init__(self, oracle: FrozenLMOracle | GeneratingOracle, state: State) -> None:
        self.identity = oracle.identity
        self._oracle = oracle
        self._state = state

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers."""
        with self._state():
            return self._oracle.answer(questions)


def fast_lm(
    base: Base, module: nn.Module, identity: str, state: State, name: str
) -> CausalLM | None:
    """The module for the fast oracle; None, said in one line, where its architecture has none.

    Its attention is left as it was.

    Raises: UserError where the weights give no finite numbers.
    """
    reason = "it is no transformers model"
    if isinstance(module, PreTrainedModel):
        try:
            with in_order(state, restoring(base.attention), with_attention(module))():
                return checked_lm(module, base.tokenizer, identity, base.decoding, base.compiling)
        except UnsupportedArchitectureError as error:
            reason = error.reason
    print_plain(
        f"{name}: {type(module).__name__} answers by its own generate(), which is slower ({reason})"
    )
    return None
