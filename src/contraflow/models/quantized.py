"""A frozen backbone in 8 or 4 bits (bitsandbytes): only what is never trained is rounded.

LM head and embeddings stay as they are, and so do adapter and flow head. Departures from bitsandbytes' defaults:
1. 8-bit without its outlier columns. A column is an outlier by the largest number that any row of the batch has there,
   so what the model says of a question would depend on the questions beside it (by half a nat with SmolLM2-135M);
   without them every row is rounded by itself, at the same mean error;
2. 4-bit without its repacking on CPUs that have AVX512-BF16. The first pass without gradients changes the layout of the
   weights to one whose product has no derivative: from then on learning would lack gradients, with a warning at most.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from contraflow.errors import UserError

if TYPE_CHECKING:  # asked before anything slow is imported
    from torch import nn


def check_quantize(kind: str | None) -> None:
    """Raises: UserError where quantized weights are asked for and the package that reads them is
    missing.
    """
    if kind is not None and find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.quantize={kind} needs bitsandbytes: pip install 'contraflow[quantized]'"
        )


def quantized(kind: str, dtype: Any, device: Any) -> dict[str, Any]:
    """What `from_pretrained` is to be told. Raises: UserError when the package is missing."""
    check_quantize(kind)
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(
        logging.ERROR
    )  # else a line for every matrix product
    rounding = (
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
        if kind == "8bit"
        else BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    )
    return {"quantization_config": rounding, "device_map": {"": device}}


def keep_differentiable(model: nn.Module) -> None:
    """Departure 2: no layer may repack its weights."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
