"""A backbone in 8 or 4 bits (bitsandbytes). Only frozen layers are quantized.

LM head, embeddings, adapter and flow head keep their precision. Two departures from the defaults
of bitsandbytes:
1. 8-bit has no outlier columns. Whether a column is an outlier depends on its largest value in the
   whole batch, so the log-probability of a question would depend on the other questions in the
   batch (by half a nat with SmolLM2-135M). Without outlier columns each row is quantized by
   itself, at the same mean error.
2. 4-bit weights are not repacked on CPUs with AVX512-BF16. The first pass without gradients would
   change the weights to a layout whose product has no derivative: training would then have no
   gradients, with a warning at most.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from contraflow.errors import UserError

# `check_quantization` runs before torch is imported.
if TYPE_CHECKING:
    from torch import nn


def check_quantization(kind: str | None) -> None:
    """Check that bitsandbytes is installed if weights are to be quantized.

    Raises: UserError when it is not.
    """
    if kind is not None and find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.quantize={kind} needs bitsandbytes: pip install 'contraflow[quantized]'"
        )


def quantization_arguments(kind: str, dtype: Any, device: Any) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that load weights in "8bit" or "4bit".

    Raises: UserError when bitsandbytes is not installed.
    """
    check_quantization(kind)
    from transformers import BitsAndBytesConfig

    # bitsandbytes logs a warning for every matrix product.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if kind == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    return {"quantization_config": config, "device_map": {"": device}}


def keep_differentiable(model: nn.Module) -> None:
    """Stop all layers from repacking their weights (departure 2)."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
