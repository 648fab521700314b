"""A causal language model as the rest of the package uses it: encode, prefill, decode, logits.

All passes through the backbone go through `CausalLM`, so the sampler, the frozen prior and the
oracle can be one set of weights: with LoRA, the frozen model is the sampler with its adapter
switched off.

The keys and values of constant text (few-shot headers) are computed once, with the adapter off,
and shared by every later pass (`PrefixCache`). Tokens that several texts begin with are read once
(`TokenTree`). For decoding, prompts of unequal length are padded on the left, between the prefix
and the first token that differs, with explicit position ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from contraflow.errors import UserError
from contraflow.models import encoding
from contraflow.models.attention import shared_prefix
from contraflow.models.attention.architecture import (
    LogitTransform,
    check_architecture,
    max_positions,
)
from contraflow.models.attention.shared_prefix import PrefixCache, sharing_prefix
from contraflow.models.context import Context
from contraflow.models.head_rows import HeadCopies, HeadRows
from contraflow.models.known_layers import KnownLayers
from contraflow.models.prefilled import Prefilled, cache_of_one_pass
from contraflow.models.token_tree import TokenTree

Decoding = Literal["auto", "eager", "static"]
Compiling = Literal["auto", "on", "off"]


class TreePass(Protocol):
    """Another way to read token trees, such as by recordings (`recorded_trees.py`)."""

    @property
    def multiple(self) -> int:
        """The rows of trees have a multiple of so many nodes."""
        ...

    def hidden(
        self, prefix: PrefixCache, tree: TokenTree, cache: DynamicCache | None = None
    ) -> Float[Tensor, "m d"]:
        """`CausalLM.tree_hidden`."""
        ...


class CausalLM:
    """Backbone, LM head and tokenizer, with the adapter (if any) that a policy added.

    Raises: UserError when the architecture is not supported.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        identity: str,
        decoding: Decoding = "auto",
        compiling: Compiling = "auto",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.identity = identity  # stable name of the frozen weights, part of replay keys
        self.decoding = decoding
        self.compiling = compiling
        self.adapter: Any = None  # the PeftModel around `model`, once a policy has added one
        check_architecture(model)
        shared_prefix.install()
        cast(Any, model).set_attn_implementation(shared_prefix.NAME)
        self._head_copies = HeadCopies()
        self.layers = KnownLayers(model)
        self._adds_space = encoding.adds_space(tokenizer)
        self._transform = LogitTransform.of(cast(Any, model).config)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def decodes_statically(self) -> bool:
        """Whether decoding has fixed shapes, for CUDA graphs (`static_decoding.py`)."""
        return self.decoding == "static" or (self.decoding == "auto" and self.device.type == "cuda")

    @property
    def compiles(self) -> bool:
        """Whether the layers of a static decoding step are compiled (`step_layers.py`)."""
        return self.compiling == "on" or (self.compiling == "auto" and self.device.type == "cuda")

    @property
    def hidden_size(self) -> int:
        return int(self.head.weight.shape[1])

    @property
    def head(self) -> nn.Linear:
        return cast(nn.Linear, cast(Any, self.model).get_output_embeddings())

    @property
    def max_positions(self) -> int:
        """Longest sequence, in tokens, that every layer attends to in full."""
        return max_positions(cast(Any, self.model).config)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Run the pretrained weights alone within the block: adapter off, no gradient."""
        # PEFT's own switch takes longer than a pass: it describes the whole model first.
        layers = self.layers.adapted(self.adapter)
        before = [layer._disable_adapters for layer in layers]
        with torch.no_grad():
            try:
                for layer in layers:
                    layer._disable_adapters = True
                yield
            finally:
                for layer, disabled in zip(layers, before, strict=True):
                    layer._disable_adapters = disabled

    def hidden(self, ids: Int[Tensor, "b t"], context: Context) -> Float[Tensor, "b t d"]:
        """Read t new tokens per row and return their last hidden states.

        Extends the mask and the cache of the context by t positions.
        """
        positions = context.next_positions(ids.shape[1])
        context.mask = torch.cat([context.mask, torch.ones_like(positions)], 1)
        return self._forward(ids, context.mask, positions, context.cache, context.prefix)

    def hidden_static(
        self,
        ids: Int[Tensor, "b 1"],
        additive_mask: Float[Tensor, "b 1 1 s"],
        positions: Int[Tensor, "b 1"],
        cache: DynamicCache,
        prefix: PrefixCache,
    ) -> Float[Tensor, "b 1 d"]:
        """Read one token per row over a cache of fixed length s and return the last hidden states.

        `additive_mask` is 0 where a position is visible and the smallest number of its dtype
        elsewhere.
        """
        return self._forward(ids, additive_mask, positions, cache, prefix)

    def tree_hidden(
        self, prefix: PrefixCache, tree: TokenTree, cache: DynamicCache | None = None
    ) -> Float[Tensor, "m d"]:
        """Read a token tree after a prefix and return the last hidden states by flat node.

        Fills `cache` if one is given; differentiable without one.
        """
        dtype = cast(Any, self.model).dtype
        visible = tree.visible
        additive_mask = torch.zeros(visible.shape, dtype=dtype, device=self.device)
        additive_mask = additive_mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
        out = self._forward(tree.ids, additive_mask, prefix.length + tree.depths, cache, prefix)
        return out.flatten(0, 1)

    def _forward(
        self,
        ids: Tensor,
        mask: Tensor,
        positions: Tensor,
        cache: DynamicCache | None,
        prefix: PrefixCache | None,
    ) -> Float[Tensor, "b t d"]:
        """Run the backbone once.

        Raises: RuntimeError when transformers' own gradient checkpointing would drop the prefix
            or the cache.
        """
        if cache is None and prefix is not None and prefix.length and self._recomputes():
            raise RuntimeError(
                "transformers' gradient checkpointing would compute the pass again without the "
                "prompt's header, so gradients would be those of another prompt; switch gradient "
                "checkpointing off, or use model.gradient_checkpointing=true, which keeps the "
                "header"
            )
        backbone = getattr(self.model, cast(Any, self.model).base_model_prefix)
        with sharing_prefix(prefix):
            out = backbone(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        # In training mode, gradient checkpointing disables the cache without an error.
        if cache is not None and cache.get_seq_length() != mask.shape[-1]:
            raise RuntimeError(
                f"the backbone left {mask.shape[-1] - cache.get_seq_length()} positions out of the "
                "cache, so prompts would be forgotten; switch gradient checkpointing off, or keep "
                "the backbone in eval mode"
            )
        return cast(Tensor, out.last_hidden_state)

    def _recomputes(self) -> bool:
        """Whether transformers would recompute layers in the backward pass.

        That happens after `sharing_prefix` has ended, so without the prefix.
        """
        return torch.is_grad_enabled() and any(
            module.training and getattr(module, "gradient_checkpointing", False)
            for module in self.model.modules()
        )

    def logits(
        self, hidden: Float[Tensor, "*s d"], rows: Int[Tensor, " a"] | None = None
    ) -> Float[Tensor, "*s a"]:
        """Return float32 logits, of the vocabulary ids `rows` only if they are given."""
        copied = self.copied_head() if rows is None else self.head_rows(rows)
        found = self.head(hidden) if copied is None else copied.product(hidden)
        return self._transform(cast(Tensor, found).float())

    def logit_slope(self, logits: Float[Tensor, "*s"]) -> Float[Tensor, "*s"] | float:
        """The derivative of logits by the output of the LM head: 1 for most models."""
        return self._transform.slope(logits)

    def head_rows(self, rows: Int[Tensor, " a"]) -> HeadRows:
        """The LM head's rows of the vocabulary ids `rows`, copied; of the last ids, it is kept."""
        return self._head_copies.rows(self.head, rows)

    def copied_head(self) -> HeadRows | None:
        """A copy of the whole LM head, where that is faster than the head itself."""
        return self._head_copies.whole(self.head)

    def encode(self, text: str, first: bool = False) -> list[int]:
        """Return token ids, with special tokens such as BOS only if `first` in a sequence.

        A text that is not the first is encoded as it reads at the start of a line. SentencePiece
        tokenizers would put a space before it.
        """
        return encoding.encode(self.tokenizer, text, first=first, spaced=self._adds_space)

    def header_ids(self, text: str, next_text: str = "") -> list[int]:
        """Return the token ids before every body of a prompt; BOS alone, if any, for no text."""
        return encoding.header_ids(self.tokenizer, text, next_text, spaced=self._adds_space)

    def decode(self, ids: Sequence[int]) -> str:
        return cast(str, self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @torch.no_grad()
    def prefix_cache(self, text: str, next_text: str = "") -> PrefixCache:
        """Read a constant text once, with the adapter off. An empty text gives an empty prefix.

        `next_text` is how every continuation begins: a tokenizer may split `text` differently
        before it, for example by merging line breaks at the end.

        Raises: UserError when the text fills all positions of the model.
        """
        ids = self.header_ids(text, next_text)
        if not ids:
            return PrefixCache((), 0)
        if len(ids) >= self.max_positions:
            raise UserError(
                f"the examples of a prompt ({text[:40]!r}…) are {len(ids)} tokens, but the model "
                f"has room for {self.max_positions}; give prompt.task or prompt.answer fewer of "
                "them"
            )
        return self.read_prefix(ids)[0]

    @torch.no_grad()
    def read_prefix(self, ids: Sequence[int]) -> tuple[PrefixCache, Float[Tensor, "n d"]]:
        """Read the first tokens of all texts, adapter off; return the prefix and hidden states."""
        tokens = torch.tensor([list(ids)], device=self.device)
        cache = DynamicCache()
        with self.frozen():
            positions = torch.arange(len(ids), device=self.device)[None]
            hidden = self._forward(tokens, torch.ones_like(tokens), positions, cache, None)[0]
        layers = ((layer.keys, layer.values) for layer in cache.layers)
        contiguous = tuple((keys.contiguous(), values.contiguous()) for keys, values in layers)
        return PrefixCache(contiguous, len(ids)), hidden

    def prefill(
        self,
        prefix: PrefixCache,
        prompts: Sequence[Sequence[int]],
        trees: TreePass | None = None,
    ) -> Prefilled:
        """Read prompts after a shared prefix with the active adapter; pad rows on the left.

        Args:
            trees: what reads the token tree in place of `tree_hidden`.

        Raises: ValueError when a prompt has no tokens.
        """
        tree = TokenTree.of(prompts, self.device, multiple=1 if trees is None else trees.multiple)
        cache = cache_of_one_pass()
        read = self.tree_hidden if trees is None else trees.hidden
        last_hidden = read(prefix, tree, cache)[tree.last]
        return Prefilled.of_tree(prefix, tree, cache, last_hidden)
