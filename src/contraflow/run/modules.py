"""Edited models as editing libraries hand them over: modules in memory, with what they were before.

The caller's modules are left as they were: attention, training mode, `requires_grad`, settings,
adapters and weights are switched for the time of a call and restored after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.weights.content import (
    Digests,
    content_identity,
    module_digests,
    tensor_digest,
)
from contraflow.models.weights.delta import replacements
from contraflow.models.weights.weight_states import (
    State,
    adapter_off,
    borrowed,
    in_order,
    with_tensors,
)
from contraflow.reward.oracle.local import Asking, Base, LocalAnswerer, fast_lm
from contraflow.settings import Config


class AnswererPair(NamedTuple):
    """An edited model and its control."""

    edited: LocalAnswerer
    control: LocalAnswerer


class Names(NamedTuple):
    """What the two models are called in reports."""

    edited: str = "edited"
    control: str = "control"


def answerers_of_modules(
    edited: nn.Module,
    tokenizer: Any,
    *,
    control: nn.Module | Mapping[str, Tensor] | None = None,
    config: Config | None = None,
    names: tuple[str, str] = Names(),
) -> AnswererPair:
    """Make answerers of an edited model in memory and of the model that it was.

    Identities are hashes of all weights (SmolLM2-135M in float32: 0.5 s of one core a module).

    Args:
        edited: any module with `generate`: a transformers model, a PeftModel, an editor's wrapper.
        tokenizer: of both.
        control: the unedited module; or the original tensors of the edited one by name, as
            EasyEdit's editors return them (`weights_copy`); None for a PeftModel, whose control is
            itself with the adapter off.
        config: `prompt.answer` and `oracle.*`; None for the defaults.
    Raises: UserError where there is no control, or its tensors do not fit.
    """
    if config is None:
        from contraflow.settings.compose import compose_config

        config = compose_config()
    check_modules(edited, control)
    maker = _Maker(Asking(config.prompt.answer, config.oracle), tokenizer)
    if _is_own_control(edited, control):
        return maker.adapter(edited, *names)
    if isinstance(control, nn.Module):
        return AnswererPair(maker.plain(edited, names[0]), maker.plain(control, names[1]))
    assert isinstance(control, Mapping)
    return maker.with_originals(edited, control, *names)


def check_modules(edited: nn.Module, control: object) -> None:
    """Check an edited module and its control, as `answerers_of_modules` takes them.

    Raises: UserError where there is no control, or its tensors do not fit.
    """
    if _is_own_control(edited, control):
        return
    _check_module(edited, "edited")
    if isinstance(control, nn.Module):
        _check_module(control, "control")
        if control is edited:
            raise UserError(
                "edited and control are one module, so nothing is edited; an editor that changes "
                "the model in place returns the original weights: give these as control"
            )
    elif isinstance(control, Mapping):
        replacements(edited, control, "control")
    else:
        raise UserError(
            "an edited model needs its control: give the unedited module, or the dict of original "
            "weights that the editor returned; only a PeftModel has its own"
        )


def _is_own_control(edited: nn.Module, control: object) -> TypeGuard[PeftModel]:
    """Whether an edited module is its own control, with its adapter off."""
    return isinstance(edited, PeftModel) and control in (None, edited.get_base_model())


def _check_module(module: Any, role: str) -> None:
    if not isinstance(module, nn.Module) or not callable(getattr(module, "generate", None)):
        raise UserError(
            f"{role}: {type(module).__name__} is no torch module with a method `generate`; give "
            "the model itself"
        )


@dataclass(frozen=True)
class _Maker:
    """Makes answerers of one tokenizer and one way to ask."""

    asking: Asking
    tokenizer: Any

    def plain(self, module: nn.Module, name: str) -> LocalAnswerer:
        """A module as it is."""
        digests = module_digests(module)
        if isinstance(module, PeftModel):
            return self._of_peft(module, digests, name)
        return self._of(module, digests, name, borrowed(module))

    def with_originals(
        self, module: nn.Module, originals: Mapping[str, Tensor], name: str, control_name: str
    ) -> AnswererPair:
        """A module as it is, and with its original tensors."""
        found = replacements(module, originals, "control")
        digests = module_digests(module)
        before = digests | {each.name: tensor_digest(each.data) for each in found}
        original = with_tensors([(each.target, each.data) for each in found])
        return AnswererPair(
            self._of(module, digests, name, borrowed(module)),
            self._of(module, before, control_name, in_order(borrowed(module), original)),
        )

    def adapter(self, module: PeftModel, name: str, control_name: str) -> AnswererPair:
        """A PeftModel as it is, and with its adapter off."""
        digests = module_digests(module)
        inner = module.get_base_model()
        adapter_parts = (*_prefixes(module), "modules_to_save", "prompt_encoder")
        base_digests = {
            key: digest
            for key, digest in digests.items()
            if not any(part in key for part in adapter_parts)
        }
        off = in_order(borrowed(module), adapter_off(module))
        return AnswererPair(
            self._of_peft(module, digests, name),
            self._of(module, base_digests, control_name, off, fast=inner),
        )

    def _of_peft(self, module: PeftModel, digests: Digests, name: str) -> LocalAnswerer:
        configs = {key: value.to_dict() for key, value in module.peft_config.items()}
        # The factor of an adapter is no tensor, and may differ from the one of its config.
        scales = [
            getattr(part, "scaling", None)
            for part in module.modules()
            if isinstance(part, BaseTunerLayer)
        ]
        extra = f"{module.active_adapters}{configs}{scales}"
        # Tokens that are put before the text are not in the base model's own forward pass.
        fast = None if module.active_peft_config.is_prompt_learning else module.get_base_model()
        return self._of(module, digests, name, borrowed(module), fast=fast or module, extra=extra)

    def _of(
        self,
        module: nn.Module,
        digests: Digests,
        name: str,
        state: State,
        *,
        fast: nn.Module | None = None,
        extra: str = "",
    ) -> LocalAnswerer:
        inner = module if fast is None else fast
        identity = content_identity(inner, self.tokenizer, digests, extra)
        base = Base.of(module, self.tokenizer, identity, "auto")
        lm = fast_lm(base, inner, identity, state, name)
        return LocalAnswerer(base, self.asking, name=name, identity=identity, lm=lm, state=state)


def _prefixes(module: PeftModel) -> tuple[str, ...]:
    """How the tensors of an adapter's layers begin, such as `lora_`; nothing for other kinds."""
    prefix = getattr(module.base_model, "prefix", None)
    return (prefix,) if isinstance(prefix, str) and prefix else ()
