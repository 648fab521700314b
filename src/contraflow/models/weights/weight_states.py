"""Run a module with other weights or another attention for a while, and leave no trace on it.

A state is a function that returns a context manager. Within the block the module answers in that
state; afterwards it is what it was before, whatever happened inside. So an edited model and its
control can be one set of weights, and a module that belongs to the caller stays as it was handed
over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

State = Callable[[], AbstractContextManager[None]]


def as_it_is() -> AbstractContextManager[None]:
    """The state of a module that is used as it is."""
    return nullcontext()


def in_order(*states: State) -> State:
    """All of these states, entered in their order."""

    @contextmanager
    def entered() -> Iterator[None]:
        with ExitStack() as stack:
            for state in states:
                stack.enter_context(state())
            yield

    return entered


def borrowed(module: nn.Module) -> State:
    """Eval mode; training flags and `requires_grad` are restored, of every part by itself."""

    @contextmanager
    def entered() -> Iterator[None]:
        training = [(part, part.training) for part in module.modules()]
        gradients = [(p, p.requires_grad) for p in module.parameters()]
        try:
            module.eval()
            yield
        finally:
            for part, flag in training:
                part.training = flag
            for parameter, flag in gradients:
                parameter.requires_grad_(flag)

    return entered


def with_tensors(tensors: list[tuple[Tensor, Tensor]]) -> State:
    """Each first tensor (a parameter or buffer of a module) holds the second one's data.

    Storages are exchanged, so nothing is copied, and what comes back is bit for bit what was there.
    """

    @contextmanager
    def entered() -> Iterator[None]:
        before = [target.data for target, _ in tensors]
        try:
            for target, data in tensors:
                target.data = data
            yield
        finally:
            for (target, _), data in zip(tensors, before, strict=True):
                target.data = data

    return entered


def adapter_off(peft_model: Any) -> State:
    """The base weights of a PeftModel."""

    @contextmanager
    def entered() -> Iterator[None]:
        gradients = [(p, p.requires_grad) for p in peft_model.parameters()]
        try:
            with peft_model.disable_adapter():
                yield
        finally:
            for parameter, flag in gradients:
                parameter.requires_grad_(flag)

    return entered


def adapter_on(peft_model: Any, name: str) -> State:
    """One adapter of a PeftModel whose adapters are off otherwise."""

    @contextmanager
    def entered() -> Iterator[None]:
        layers = peft_model.base_model
        try:
            layers.set_adapter(name)
            layers.enable_adapter_layers()
            yield
        finally:
            layers.disable_adapter_layers()

    return entered


def attention_of(module: nn.Module) -> Mapping[int, tuple[Any, Any]]:
    """The attention implementation of every config in a module, by the config's id."""
    found: dict[int, tuple[Any, Any]] = {}
    for part in module.modules():
        if isinstance(part, PreTrainedModel):
            _collect(part.config, found)
    return found


def _collect(config: Any, found: dict[int, tuple[Any, Any]]) -> None:
    if id(config) in found:
        return
    found[id(config)] = (config, config._attn_implementation_internal)
    for name in config.sub_configs:
        nested = getattr(config, name, None)
        if nested is not None:
            _collect(nested, found)


def with_attention(module: nn.Module, name: str | None = None) -> State:
    """Attention implementation `name`, or the current one if None; restores what there was."""

    @contextmanager
    def entered() -> Iterator[None]:
        before = attention_of(module)
        try:
            if name is not None:
                cast(Any, module).set_attn_implementation(name)
            yield
        finally:
            for config, implementation in before.values():
                config._attn_implementation_internal = implementation

    return entered


def restoring(attention: Mapping[int, tuple[Any, Any]]) -> State:
    """The attention implementations that `attention_of` found earlier."""

    @contextmanager
    def entered() -> Iterator[None]:
        now = [(config, config._attn_implementation_internal) for config, _ in attention.values()]
        try:
            for config, implementation in attention.values():
                config._attn_implementation_internal = implementation
            yield
        finally:
            for config, implementation in now:
                config._attn_implementation_internal = implementation

    return entered


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, as a module without an adapter names them.

    Non-persistent buffers (rotary frequencies) follow from the config and are left out.
    """
    persistent = set(module.state_dict(keep_vars=True))
    tensors: dict[str, Tensor] = {}
    for name, tensor in [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]:
        if name in persistent:
            tensors[name.replace(".base_layer.", ".")] = tensor
    return tensors


def detached(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor's data where the other one is, without copying it if it is there already."""
    return tensor.detach().to(device=like.device)
