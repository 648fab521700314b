"""Open whatever answers questions: folders, hub names, adapters, weight deltas, servers, modules.

`open_answerers` opens edited models and their control together, so that they share one set of
weights where they can: adapters and deltas stand on the control's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contraflow.errors import UserError
from contraflow.models.attention import shared_prefix
from contraflow.models.causal_lm import CausalLM
from contraflow.models.weights import sources
from contraflow.models.weights.adapters import (
    adapter_identity,
    adapter_weights,
    add_adapter,
    first_misfit,
    is_prompt_adapter,
)
from contraflow.models.weights.delta import read_delta, replacements
from contraflow.models.weights.identity import file_digest
from contraflow.models.weights.resolve import resolve_model
from contraflow.models.weights.sources import Source, source_of
from contraflow.models.weights.weight_states import (
    State,
    adapter_on,
    as_it_is,
    with_tensors,
)
from contraflow.reward.oracle.local import Asking, Base, LocalAnswerer, fast_lm
from contraflow.run.loading import load_base
from contraflow.run.modules import AnswererPair, answerers_of_modules
from contraflow.settings import Config
from contraflow.types import Answerer

__all__ = [
    "AnswererPair",
    "Answerers",
    "answerers_of_modules",
    "check_source",
    "control_of",
    "delta_of_sampler",
    "open_answerer",
    "open_answerers",
]


@dataclass(frozen=True)
class Answerers:
    """Edited models, in their order, and the model that they are edits of."""

    edited: tuple[Answerer, ...]
    control: Answerer


def check_source(
    name: str, kind: str = "oracle", *, has_control: bool = False, config: Config | None = None
) -> None:
    """Check all that can be checked of a named model before any model loads.

    A served model is asked for one token.

    Args:
        kind: the model's role, named in errors.
        has_control: whether a control is named that an adapter or a delta can stand on.
        config: its `model.name` may be the base of an adapter, its `oracle.served` how to ask.
    Raises: UserError, in one line with the remedy.
    """
    if source_of(name).form == "served":
        from contraflow.reward.oracle.served.oracle import check_served

        check_served(name, None if config is None else config.oracle.served)
    else:
        model_name = "" if config is None else config.model.name
        sources.check_source(name, kind, has_control=has_control, model_name=model_name)


def open_answerers(
    edited: Sequence[str], control: str | None = None, *, config: Config, names: Sequence[str] = ()
) -> Answerers:
    """Open edited models and their control.

    Args:
        control: None where an edited model is an adapter: its base, with the adapter off.
        names: of the edited models, for people; the sources themselves without them.
    Raises: UserError for a model that cannot be opened, and where a control is needed.
    """
    if control is None:
        control = control_of(edited[0], config.model.name)
    unedited = open_answerer(control, config=config)
    opened = [
        open_answerer(source, config=config, control=unedited, name=name)
        for source, name in zip(edited, names or edited, strict=True)
    ]
    return Answerers(tuple(opened), unedited)


def control_of(edited: str, model_name: str = "") -> str:
    """The control of an edited model that is named alone: the base of an adapter.

    Args:
        model_name: `model.name`, which may be that base.
    Raises: UserError for any other model.
    """
    source = _located(edited, "edited")
    base = sources.base_of(source.path) if source.form == "adapter" and source.path else None
    if base is None:
        raise UserError(
            f"edited={edited}: name the model that it is an edit of, as control=…; only an adapter "
            "knows its base"
        )
    return sources.base_name(base, model_name)


def open_answerer(
    source: str,
    *,
    config: Config,
    control: Answerer | None = None,
    name: str | None = None,
) -> Answerer:
    """Open a model that answers.

    Args:
        source: packaged:NAME, a folder, a hub name, the folder of a PEFT adapter, a
            ``delta.safetensors``, or ``openai:URL#MODEL``.
        config: `prompt.answer`, `oracle.*` and how models are loaded (`model.dtype`, …).
        control: the answerer whose weights an adapter or a delta stands on; without one, an
            adapter's own base is loaded.
        name: for people; the source without one.
    Raises: UserError for a model that cannot be opened.
    """
    found = _located(source, "oracle")
    name = name or source
    if found.form == "served":
        from contraflow.reward.oracle.served.oracle import open_served

        return open_served(
            source,
            settings=config.oracle.served,
            few_shot=config.prompt.answer,
            max_answer_tokens=config.oracle.max_answer_tokens,
            name=name if name != source else None,
        )
    if found.form == "adapter":
        return _open_adapter(found, config, control, name)
    if found.form == "delta":
        return _open_delta(found, config, control, name)
    return _open_model(source, config, name)


def _located(name: str, kind: str) -> Source:
    """The source of a name; one on the hub is fetched, as it may be an adapter."""
    source = source_of(name)
    if source.form == "model" and source.path is None and not name.startswith("packaged:"):
        folder = resolve_model(name, kind)
        if sources.is_adapter(folder):
            return Source(name, "adapter", folder)
    return source


def _asking(config: Config) -> Asking:
    return Asking(config.prompt.answer, config.oracle)


def _open_model(source: str, config: Config, name: str) -> LocalAnswerer:
    base = load_base(config, source, "oracle")
    lm = fast_lm(base, base.module, base.identity, as_it_is, name)
    if lm is not None:  # the module is ours: its attention may stay switched on
        lm.model.set_attn_implementation(shared_prefix.NAME)  # type: ignore[operator]
    return LocalAnswerer(base, _asking(config), name=name, identity=base.identity, lm=lm)


def _open_adapter(
    source: Source, config: Config, control: Answerer | None, name: str
) -> LocalAnswerer:
    assert source.path is not None
    folder = source.path
    base = _base_for(folder, config, control)
    identity = adapter_identity(folder, base.identity)
    if is_prompt_adapter(folder):  # it puts tokens before the text, and shares no layer
        wrapped = add_adapter(base.module, None, folder, "default")
        return LocalAnswerer(base, _asking(config), name=name, identity=identity, module=wrapped)
    adapter = f"edit{0 if base.peft_model is None else len(base.peft_model.peft_config)}"
    base.peft_model = add_adapter(base.module, base.peft_model, folder, adapter)
    return _edited(base, config, name, identity, adapter_on(base.peft_model, adapter))


def _base_for(folder: Path, config: Config, control: Answerer | None) -> Base:
    """The control's weights if the adapter fits them, or those that it names itself.

    Raises: UserError naming the first tensor that does not fit, or the base that is not there.
    """
    weights = adapter_weights(folder)
    named = sources.base_of(folder)
    misfit = None
    if isinstance(control, LocalAnswerer):
        misfit = first_misfit(control.base.module, weights)
        if misfit is None:
            return control.base
    if named is None:
        reason = f"does not fit the control ({misfit})" if misfit else "names no base"
        raise UserError(f"{folder}: the adapter {reason}; name the base that it was trained on")
    try:
        base = load_base(config, sources.base_name(named, config.model.name), "base")
    except UserError as error:
        reason = f"; it does not fit the control: {misfit}" if misfit else ""
        raise UserError(
            f"{folder}: an adapter answers on its base, which is not there ({str(error)[:160]})"
            f"{reason}; put the base there, or name it as control"
        ) from error
    misfit = first_misfit(base.module, weights)
    if misfit is not None:
        raise UserError(f"{folder}: the adapter does not fit its base {named} ({misfit})")
    return base


def _open_delta(
    source: Source, config: Config, control: Answerer | None, name: str
) -> LocalAnswerer:
    assert source.path is not None
    if not isinstance(control, LocalAnswerer):
        raise UserError(
            f"{source.name}: a delta replaces tensors of a model; name that model, which is not a "
            "served one, as control"
        )
    if not source.path.is_file():
        raise UserError(f"{source.name}: no such file; give a delta.safetensors, or a folder")
    found = replacements(control.base.module, read_delta(source.path), source.name)
    identity = f"{control.base.identity}+{file_digest(source.path)[:16]}"
    state = with_tensors([(each.target, each.data) for each in found])
    return _edited(control.base, config, name, identity, state)


def _edited(base: Base, config: Config, name: str, identity: str, state: State) -> LocalAnswerer:
    """An edit of a base that is in memory, which `state` switches on."""
    lm = fast_lm(base, base.module, identity, state, name)
    return LocalAnswerer(base, _asking(config), name=name, identity=identity, lm=lm, state=state)


def delta_of_sampler(source: str, lm: CausalLM, config: Config) -> LocalAnswerer:
    """A delta that stands on the sampler's own backbone, whose adapter is off while it answers.

    Raises: UserError for a delta that does not fit.
    """
    base = Base.of(lm.model, lm.tokenizer, lm.identity, lm.decoding, lm.compiling)
    path = source_of(source).path
    assert path is not None
    found = replacements(base.module, read_delta(path), source)
    identity = f"{base.identity}+{file_digest(path)[:16]}"
    state = with_tensors([(each.target, each.data) for each in found])
    return LocalAnswerer(base, _asking(config), name=source, identity=identity, lm=lm, state=state)
