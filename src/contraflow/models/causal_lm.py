"""A causal language model as the rest of the code sees it: hidden states, logits, and a prefix
computed once.

Everything that runs the backbone passes through here, so that the sampler, the frozen prior and the
oracle can be one set of weights: with LoRA, the frozen model *is* the sampler with its adapter
switched off.

Where text is constant (few-shot headers), its keys and values are computed once with the adapter
off and shared by every later pass; see `PrefixCache`. Where texts begin alike, the shared tokens
are read once; see `TokenTree`. For decoding, prompts of unequal length are padded on the left,
between the prefix and the first token that differs, with explicit positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.errors import UserError
from contraflow.models import attention
from contraflow.models.architecture import check_architecture, max_positions
from contraflow.models.attention import PrefixCache, attending_to
from contraflow.models.token_tree import TokenTree

Decoding = Literal["auto", "eager", "static"]


@dataclass
class Context:
    """A batch of prompts that the backbone has read: what the next token attends to."""

    prefix: PrefixCache  # the constant text before every row; its keys are shared, not copied
    cache: DynamicCache
    mask: Int[Tensor, "b k"]  # 1 where a cached position is real
    last_hidden: Float[Tensor, "b d"]  # at the last prompt token

    def next_positions(self, n_tokens: int) -> Int[Tensor, "b n"]:
        """Position ids of the n tokens that follow."""
        start = self.prefix.length + self.mask.sum(1, keepdim=True)
        return start + torch.arange(n_tokens, device=self.mask.device)

    def for_decoding(self, index: Int[Tensor, " n"], n_tokens: int) -> Context:
        """Rows picked by index with room for n more tokens, so that decoding writes in place (no
        gradient).
        """
        cache = DynamicCache()
        cache.layers = [
            _RoomyLayer(lay.keys[index], lay.values[index], n_tokens) for lay in self.cache.layers
        ]
        return Context(self.prefix, cache, self.mask[index], self.last_hidden[index])

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Go on with these rows of a decoding context: finished ones leave, and one that branches
        is named twice.
        """
        for layer in self.cache.layers:
            cast(_RoomyLayer, layer).keep(rows)
        self.mask = self.mask[rows]
        self.last_hidden = self.last_hidden[rows]


class _RoomyLayer(DynamicLayer):
    """A cache layer with preallocated room: the stock one copies all keys for every new token."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        batch, heads, length, dim = keys.shape
        self._k = keys.new_empty(batch, heads, length + room, dim)
        self._v = values.new_empty(batch, heads, length + room, values.shape[-1])
        self._k[:, :, :length], self._v[:, :, :length] = keys, values
        self._see(length)

    def _see(self, length: int) -> None:
        self.keys, self.values = self._k[:, :, :length], self._v[:, :, :length]

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        self._k[:, :, start:end], self._v[:, :, start:end] = key_states, value_states
        self._see(end)
        return self.keys, self.values

    def keep(self, rows: Tensor) -> None:
        length = self.keys.shape[-2]
        self._k, self._v = self._k[rows], self._v[rows]
        self._see(length)


class CausalLM:
    """Backbone, LM head and tokenizer, with the adapter (if any) that a policy has put on it."""

    def __init__(
        self, model: nn.Module, tokenizer: Any, identity: str, decoding: Decoding = "auto"
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.identity = identity  # stable name of the frozen weights, part of replay keys
        self.decoding = decoding
        self.adapter: Any = None  # the PeftModel around `model`, once a policy has added one
        check_architecture(model)
        attention.install()
        cast(Any, model).set_attn_implementation(attention.NAME)
        self._cut: tuple[Tensor, Tensor, Tensor | None] | None = None  # rows, their weight and bias

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def decodes_statically(self) -> bool:
        """Whether decoding has fixed shapes, for CUDA graphs (`static_decoding.py`)."""
        return self.decoding == "static" or (self.decoding == "auto" and self.device.type == "cuda")

    @property
    def hidden_size(self) -> int:
        return int(self.head.weight.shape[1])

    @property
    def head(self) -> nn.Linear:
        return cast(nn.Linear, cast(Any, self.model).get_output_embeddings())

    @property
    def max_positions(self) -> int:
        """Longest sequence that the model was made for and all of which every layer sees, in
        tokens.
        """
        return max_positions(cast(Any, self.model).config)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The pretrained weights alone: adapter off, no gradient. Restores both on exit."""
        with torch.no_grad():
            if self.adapter is None:
                yield
            else:
                with self.adapter.disable_adapter():
                    yield

    def hidden(
        self,
        ids: Int[Tensor, "b t"],
        context: Context,
    ) -> Float[Tensor, "b t d"]:
        """Last hidden states of t new tokens; the context (mask and cache) grows by t real
        positions.
        """
        positions = context.next_positions(ids.shape[1])
        context.mask = torch.cat([context.mask, torch.ones_like(positions)], 1)
        return self._forward(ids, context.mask, positions, context.cache, context.prefix)

    def hidden_at(
        self,
        ids: Int[Tensor, "b 1"],
        hidden_from: Float[Tensor, "b 1 1 s"],
        positions: Int[Tensor, "b 1"],
        cache: DynamicCache,
        prefix: PrefixCache,
    ) -> Float[Tensor, "b 1 d"]:
        """Last hidden states of one token a row over a cache of fixed length, with what each row
        may see added up.
        """
        return self._forward(ids, hidden_from, positions, cache, prefix)

    def tree_hidden(
        self, prefix: PrefixCache, tree: TokenTree, cache: DynamicCache | None = None
    ) -> Float[Tensor, "m d"]:
        """Last hidden states of all nodes of a tree after a prefix, by flat node; differentiable
        without a cache.
        """
        dtype = cast(Any, self.model).dtype
        hidden_from = torch.zeros(tree.visible.shape, dtype=dtype, device=self.device)
        hidden_from = hidden_from.masked_fill(~tree.visible, torch.finfo(dtype).min)[:, None]
        out = self._forward(tree.ids, hidden_from, prefix.length + tree.depths, cache, prefix)
        return out.flatten(0, 1)

    def _forward(
        self,
        ids: Tensor,
        mask: Tensor,
        positions: Tensor,
        cache: DynamicCache | None,
        prefix: PrefixCache | None,
    ) -> Float[Tensor, "b t d"]:
        if cache is None and prefix is not None and prefix.length and self._recomputes():
            raise RuntimeError(
                "transformers' gradient checkpointing would compute the pass again without the prompt's header, so "
                "gradients would be those of another prompt; switch gradient checkpointing off, or use "
                "model.gradient_checkpointing=true, which keeps the header"
            )
        backbone = getattr(self.model, cast(Any, self.model).base_model_prefix)
        with attending_to(prefix):
            out = backbone(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        if cache is not None and cache.get_seq_length() != mask.shape[-1]:
            # gradient checkpointing in training mode does this, silently
            raise RuntimeError(
                f"the backbone left {mask.shape[-1] - cache.get_seq_length()} positions out of the cache, so prompts "
                "would be forgotten; switch gradient checkpointing off, or keep the backbone in eval mode"
            )
        return cast(Tensor, out.last_hidden_state)

    def _recomputes(self) -> bool:
        """Whether transformers would run some layers again in the backward pass, out of reach of
        `attending_to`.
        """
        return torch.is_grad_enabled() and any(
            module.training and getattr(module, "gradient_checkpointing", False)
            for module in self.model.modules()
        )

    def logits(
        self, hidden: Float[Tensor, "*s d"], rows: Int[Tensor, " a"] | None = None
    ) -> Float[Tensor, "*s a"]:
        """Float32 logits, of the given vocabulary rows only where they are given."""
        if rows is None:
            return cast(Tensor, self.head(hidden)).float()
        weight, bias = self.head_rows(rows)
        return functional.linear(hidden, weight, bias).float()

    def head_rows(self, rows: Int[Tensor, " a"]) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the given vocabulary rows of the head."""
        # The head is frozen, so the cut matrix is gathered once per action set and kept together
        # with the set: the id of a set that is gone may be that of the next one.
        if self._cut is None or self._cut[0] is not rows:
            bias = self.head.bias
            self._cut = (
                rows,
                self.head.weight[rows].detach(),
                None if bias is None else bias[rows].detach(),
            )
        return self._cut[1:]

    def encode(self, text: str, first: bool = False) -> list[int]:
        """Token ids; special tokens (such as a leading BOS) only where the text is the first of a
        sequence.
        """
        return cast(list[int], self.tokenizer(text, add_special_tokens=first)["input_ids"])

    def _cut_before(self, text: str, follow: str) -> list[int]:
        """Token ids of a text as the tokenizer cuts it before another, where it keeps the two apart
        at all.
        """
        joined, rest = self.encode(text + follow, first=True), self.encode(follow)
        if rest and joined[-len(rest) :] == rest:
            return joined[: -len(rest)]
        return self.encode(text, first=True)

    def decode(self, ids: Sequence[int]) -> str:
        return cast(str, self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @torch.no_grad()
    def prefix(self, text: str, follow: str = "") -> PrefixCache:
        """Read a constant text once, with the adapter off. An empty text is an empty prefix.

        ``follow`` is how every text after it begins: where two texts meet, a tokenizer may cut the first otherwise.

        Raises: UserError when the model has no positions left after it.
        """
        ids = self._cut_before(text, follow) if text else self.encode(text, first=True)
        if not ids:
            return PrefixCache((), 0)
        if len(ids) >= self.max_positions:
            raise UserError(
                f"the examples of a prompt ({text[:40]!r}…) are {len(ids)} tokens, but the model has room for "
                f"{self.max_positions}; give prompt.task or prompt.answer fewer of them"
            )
        tokens = torch.tensor([ids], device=self.device)
        cache = DynamicCache()
        with self.frozen():
            positions = torch.arange(len(ids), device=self.device)[None]
            self._forward(tokens, torch.ones_like(tokens), positions, cache, None)
        return PrefixCache(tuple((layer.keys, layer.values) for layer in cache.layers), len(ids))

    def prefill(self, prefix: PrefixCache, prompts: Sequence[Sequence[int]]) -> Context:
        """Read prompts after a shared prefix, with whatever adapter is active; rows are padded on
        the left.
        """
        tree = TokenTree.of(prompts, self.device)
        packed, cache = DynamicCache(), DynamicCache()
        last_hidden = self.tree_hidden(prefix, tree, packed)[tree.last]
        width = tree.paths.shape[1]
        column = torch.arange(width, device=self.device) - (width - tree.lengths[:, None])
        nodes = tree.paths.gather(1, column.clamp(min=0))
        for number, layer in enumerate(packed.layers):
            cache.update(_along(layer.keys, nodes), _along(layer.values, nodes), number)
        return Context(prefix, cache, (column >= 0).long(), last_hidden)


def _along(states: Float[Tensor, "r h n d"], nodes: Int[Tensor, "b p"]) -> Float[Tensor, "b h p d"]:
    """Keys or values of packed rows, as each sequence's own row."""
    return states.transpose(1, 2).flatten(0, 1)[nodes].transpose(1, 2)
