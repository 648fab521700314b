"""The identity of a module in memory: a hash of its weights, settings and tokenizer.

An edit changes weights and nothing else, so neither the class nor the name of a module tells an
edited model from the original. Every tensor is hashed by itself: the weights of a module with some
of them exchanged need only the hashes of these. (SmolLM2-135M in float32, 540 MB: 0.5 s of one
core.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.weights.identity import NOT_CONTENT
from contraflow.models.weights.weight_states import named_tensors

Digests = dict[str, str]


def tensor_digest(tensor: Tensor) -> str:
    """Hash shape, dtype and bytes of a tensor. Raises: UserError for one that was offloaded."""
    if tensor.is_meta:
        raise UserError(
            "a weight of this model is not in memory (it was offloaded); load the model whole, "
            "without device_map=auto"
        )
    digest = hashlib.blake2b(f"{tuple(tensor.shape)}{tensor.dtype}".encode(), digest_size=16)
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest.update(data.numpy().data)
    return digest.hexdigest()


def module_digests(module: nn.Module, *, without: tuple[str, ...] = ()) -> Digests:
    """Hash every tensor of a module by its name; tied tensors are read once.

    Also tensors in plain attributes: wrappers of editors keep edited weights there (WISE, GRACE).

    Args:
        without: parts of names of tensors to leave out, such as those of an adapter.
    """
    digests: Digests = {}
    known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    for name, tensor in [*named_tensors(module).items(), *_loose_tensors(module)]:
        if any(part in name for part in without):
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() == 0 or place not in known:
            known[place] = tensor_digest(tensor)
        digests[name] = known[place]
    return digests


def _loose_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Tensors that parts of a module hold in attributes, lists and dicts, unregistered."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _tensors_in(f"{prefix}.{name}", value)


def _tensors_in(name: str, value: Any, depth: int = 3) -> Iterator[tuple[str, Tensor]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    elif isinstance(value, Mapping):
        items = list(value.items())
    for key, item in items if depth else []:
        yield from _tensors_in(f"{name}.{key}", item, depth - 1)


def content_identity(module: nn.Module, tokenizer: Any, digests: Digests, extra: str = "") -> str:
    """Return 16 hex digits that depend on tensors, config, tokenizer and `extra`."""
    parts = {
        "class": type(module).__name__,
        "tensors": digests,
        "configs": [_config(module, name) for name in ("config", "generation_config")],
        "tokenizer": _tokenizer_digest(tokenizer),
        "extra": extra,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _config(module: nn.Module, name: str) -> Any:
    config: Any = getattr(module, name, None)
    if not hasattr(config, "to_dict"):
        return None
    return {k: v for k, v in config.to_dict().items() if k not in NOT_CONTENT}


def _tokenizer_digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = tokenizer.get_vocab() if backend is None else json.loads(backend.to_str())
    for state in ("padding", "truncation"):  # of the last call
        content.pop(state, None)
    text = json.dumps(content, sort_keys=True)
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token]
    text += json.dumps([special, str(getattr(tokenizer, "chat_template", None))])
    return hashlib.sha256(text.encode()).hexdigest()
