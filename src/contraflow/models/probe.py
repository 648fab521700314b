"""Compare a model's log-probabilities with transformers' own on a few tokens, when it is loaded.

This package calls a model's backbone and LM head itself, with its own attention, masks and cache.
A model that changes its logits after the head, attends in both directions, keeps a state instead
of keys, or does anything else in its own `forward` would run without an error and return other
numbers. No list of architectures can name them all, so every model is asked.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.attention.architecture import check_architecture, max_positions, unsupported
from contraflow.models.causal_lm import CausalLM, Compiling, Decoding
from contraflow.models.token_tree import TokenTree

TEXT = "The capital of France is Paris. Who wrote Hamlet?"
N_TOKENS = 12
N_PREFIX = 4  # read as a shared prefix; the last token is decoded, those between are prefilled

# Nats, of the mean over the vocabulary. Kernels of another order round differently; a mistake in
# the computation is of the order of a nat. (SmolLM2-135M: 2e-6, 0.01 and 0.06.)
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.3}
QUANTIZED_TOLERANCE = 1.0  # in 8 bits and bfloat16, SmolLM2-135M is 0.2 off


def checked_lm(
    model: nn.Module,
    tokenizer: Any,
    identity: str,
    decoding: Decoding = "auto",
    compiling: Compiling = "auto",
) -> CausalLM:
    """Return a CausalLM that computes what the model itself computes.

    Raises: UserError that names the architecture and the difference, if it does not.
    """
    check_architecture(model)
    ids = _probe_ids(model, tokenizer)
    try:
        reference = _own_log_probs(model, ids)
        lm = CausalLM(model, tokenizer, identity, decoding, compiling)
        ours = log_probs(lm, ids)
    except (UserError, torch.OutOfMemoryError):
        raise
    # Whatever an unknown architecture raises: it cannot be used.
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0][:120]
        reason = f"a pass over {len(ids)} tokens fails ({type(error).__name__}: {first_line})"
        raise unsupported(type(model).__name__, reason) from error
    _check(model, reference, ours)
    return lm


def _probe_ids(model: nn.Module, tokenizer: Any) -> list[int]:
    """Ids of a text, as special ids may stand for images; spread ones if most are unknown."""
    n = min(N_TOKENS, max_positions(model.config))
    size = int(cast(Any, model).get_input_embeddings().weight.shape[0])
    ids = [i for i in tokenizer(TEXT, add_special_tokens=False)["input_ids"] if i < size][:n]
    if len(ids) == n and len(set(ids)) > n // 2:
        return ids
    return [(i + 1) * size // (n + 1) for i in range(n)]


@torch.no_grad()
def _own_log_probs(model: nn.Module, ids: list[int]) -> Float[Tensor, "n v"]:
    """Log-probabilities after every token, by the model's own `forward`."""
    device = next(model.parameters()).device
    out = model(input_ids=torch.tensor([ids], device=device), use_cache=False)
    logits: Tensor = out.logits[0]
    return logits.float().log_softmax(-1)


@torch.no_grad()
def log_probs(lm: CausalLM, ids: list[int]) -> Float[Tensor, "n v"]:
    """Log-probabilities after every token, by the three kinds of passes of this package.

    The first tokens are a shared prefix, the last one is decoded, the others are prefilled.
    """
    prefix, first = lm.read_prefix(ids[:N_PREFIX])
    middle = ids[N_PREFIX:-1]
    prefilled = lm.tree_hidden(prefix, TokenTree.of([middle], lm.device))[: len(middle)]
    rows = torch.zeros(1, dtype=torch.long, device=lm.device)
    context = lm.prefill(prefix, [middle]).for_decoding(rows, 1)
    last = lm.hidden(torch.tensor([ids[-1:]], device=lm.device), context)[0]
    return lm.logits(torch.cat([first, prefilled, last])).log_softmax(-1)


def _check(model: nn.Module, reference: Tensor, ours: Tensor) -> None:
    if reference.shape != ours.shape:
        raise unsupported(
            type(model).__name__,
            f"its logits are of shape {tuple(reference.shape)}, not {tuple(ours.shape)}",
        )
    if not bool(reference.isfinite().all()):
        raise UserError(
            f"{_name_of(model)}: its own log-probabilities are not finite{_why_not_finite(model)}"
        )
    difference = float((reference - ours).abs().mean(-1).max())
    if not difference <= _tolerance(model):
        raise unsupported(
            type(model).__name__,
            f"its log-probabilities are {difference:.3g} nats from transformers' own, because its "
            "forward pass does more than backbone and LM head, or other attention",
        )


def _name_of(model: nn.Module) -> str:
    """The folder that it was loaded from, or else its architecture."""
    return str(getattr(model, "name_or_path", "")) or type(model).__name__


def _why_not_finite(model: nn.Module) -> str:
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            return f", as its weight {name} is not; it has diverged, or the file is damaged"
    return "; try model.dtype=float32, or check the weights"


def _tolerance(model: nn.Module) -> float:
    if getattr(model, "is_quantized", False):
        return QUANTIZED_TOLERANCE
    return TOLERANCE.get(cast(Any, model).dtype, max(TOLERANCE.values()))
