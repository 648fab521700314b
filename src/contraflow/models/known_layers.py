"""The layers of a model, looked for once: a walk over all modules takes the host a millisecond."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class KnownLayers:
    """The layers of a backbone, and those that an adapter has wrapped."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._adapter: Any = None
        self._adapted: list[BaseTunerLayer] = []
        self._frozen: list[tuple[dict[str, Any], str]] = []

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The blocks of the backbone: what transformers can compute again in a backward pass."""
        backbone = getattr(self._model, cast(Any, self._model).base_model_prefix)
        return [m for m in backbone.modules() if isinstance(m, GradientCheckpointingLayer)]

    def adapted(self, adapter: Any) -> list[BaseTunerLayer]:
        """The layers that a PeftModel has wrapped; none where it is None."""
        if adapter is not self._adapter:
            modules = [] if adapter is None else adapter.modules()
            self._adapted = [m for m in modules if isinstance(m, BaseTunerLayer)]
            self._adapter = adapter
            self._frozen = []
        return self._adapted

    def places(self) -> tuple[int, ...]:
        """Where the frozen weights lie; a recording reads them there.

        An edited model and its control exchange the data of some weights (`weight_states.py`).
        """
        if not self._frozen:
            own = {
                part
                for layer in self._adapted
                for name in layer.adapter_layer_names
                for part in getattr(layer, name).modules()
            }
            self._frozen = [
                (module._parameters, name)
                for module in self._model.modules()
                if module not in own
                for name, weight in module._parameters.items()
                if weight is not None
            ]
        return tuple(parameters[name].data_ptr() for parameters, name in self._frozen)
