"""The models of `contraflow.audit`: modules in memory or names, checked before any model loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.run.modules import check_modules
from contraflow.settings import Config


def check_parts(edited: object, tokenizer: object, control: object, config: object) -> None:
    """Check that tokenizer and control are of the same kind as the edited model.

    Raises: UserError naming the argument and the remedy.
    """
    if config is not None and not isinstance(config, Config):
        raise UserError(
            f"audit: config={_kind(config)}: must be a Config, as open_run(…).config is, "
            "or left out"
        )
    if isinstance(edited, nn.Module):
        _check_tokenizer(tokenizer)
        if isinstance(control, str | Path):
            raise UserError("audit: the control of a module is a module, or its original weights")
        return
    if tokenizer is not None:
        raise UserError(
            f"audit: {str(tokenizer)[:80]!r} is given as tokenizer, but a named model has its own; "
            "give edits by name: edits=…"
        )
    if control is not None and not isinstance(control, str | Path):
        raise UserError(
            f"audit: control={_kind(control)}: a model that is named needs a control that is named"
        )


def _check_tokenizer(tokenizer: object) -> None:
    if tokenizer is None:
        raise UserError("audit: a module needs its tokenizer; give it as the second argument")
    if isinstance(tokenizer, str | Path):
        raise UserError(
            f"audit: the second argument, {str(tokenizer)!r}, is a text: must be a tokenizer, for "
            "example AutoTokenizer.from_pretrained(…)"
        )
    if isinstance(tokenizer, nn.Module) or not hasattr(tokenizer, "get_vocab"):
        raise UserError(
            f"audit: {_kind(tokenizer)} is given as tokenizer; give the tokenizer of the module, "
            "as AutoTokenizer.from_pretrained(…) loads it"
        )


def check_control(edited: nn.Module, control: object) -> None:
    """Check that the control of a module is one, or tensors that fit it. Raises: UserError."""
    if isinstance(control, Mapping):
        for name, value in control.items():
            if not isinstance(value, Tensor):
                raise UserError(
                    f"audit: control[{name!r}] is a {_kind(value)}; give the original weights as "
                    "tensors by name, such as a clone made before the edit"
                )
    check_modules(edited, control)


def _kind(value: object) -> str:
    return type(value).__name__
