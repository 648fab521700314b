"""A model in memory in several states: other weights, other styles, and no trace on the module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from contraflow.errors import UserError
from contraflow.models.weights.weight_states import attention_of
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.oracle.local import LocalAnswerer
from contraflow.run.answerers import answerers_of_modules
from contraflow.types import Answer, AskStyle, Forced
from support.edits import (
    QUESTIONS,
    Wrapper,
    asking_config,
    edited_model,
    edited_tensors,
    tiny_adapter,
)
from support.families import tiny_model_of
from support.models import tiny_model, word_tokenizer

PROMPTS, TARGETS = ["who wrote hamlet", "the city of rome is"], ["rome", "the capital"]
CONFIG = asking_config()


def pair_of(edited: nn.Module, control: Any = None) -> tuple[LocalAnswerer, LocalAnswerer]:
    return answerers_of_modules(edited, word_tokenizer(), control=control, config=CONFIG)


def says(answerer: LocalAnswerer, style: AskStyle = "few_shot") -> list[Answer]:
    return answerer.oracle(style).answer(QUESTIONS)


def plain_says(model: nn.Module, style: AskStyle = "few_shot") -> list[Answer]:
    """The answers of a model that was never edited in memory."""
    edited, _ = pair_of(model, tiny_model("gpt2"))
    return says(edited, style)


def assert_equal(ours: list[Answer], theirs: list[Answer]) -> None:
    assert [a.text for a in ours] == [a.text for a in theirs]
    assert [a.log_p for a in ours] == pytest.approx([a.log_p for a in theirs], abs=1e-4)


def reads(answerer: LocalAnswerer) -> list[Forced]:
    return answerer.forced(PROMPTS, TARGETS)


@pytest.mark.parametrize("style", ["few_shot", "bare", "completion"])
def test_an_edit_and_its_original_weights_are_one_module(style: AskStyle):
    """As EasyEdit returns both: the edited module, and the tensors that it changed."""
    model = edited_model("llama")
    names = edited_tensors("llama")
    originals = {
        k: v.detach().clone() for k, v in tiny_model("llama").named_parameters() if k in names
    }
    edited, control = pair_of(model, originals)
    for _ in range(2):  # each keeps the examples that its own weights have read
        assert_equal(says(edited, style), plain_says(edited_model("llama"), style))
        assert_equal(says(control, style), plain_says(tiny_model("llama"), style))
    assert [a.text for a in says(edited, style)] != [a.text for a in says(control, style)]
    assert reads(edited) == reads(pair_of(edited_model("llama"), tiny_model("gpt2"))[0])
    assert reads(control) == reads(pair_of(tiny_model("llama"), tiny_model("gpt2"))[0])


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_an_adapter_and_its_base_are_one_module(architecture: str):
    """A PeftModel failed on `last_hidden_state`."""
    edited, control = pair_of(tiny_adapter(architecture))
    assert isinstance(edited.oracle("few_shot")._oracle, FrozenLMOracle)
    assert_equal(says(control), plain_says(tiny_model(architecture)))
    merged = tiny_adapter(architecture).merge_and_unload()
    assert_equal(says(edited), plain_says(merged))
    assert reads(control) == reads(pair_of(tiny_model(architecture), tiny_model("gpt2"))[0])
    assert reads(edited) != reads(control)


def test_tokens_before_the_text_are_read_too():
    """A prompt adapter changes no layer: the base model's own pass would not know of it."""
    torch.manual_seed(3)
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    model = peft.get_peft_model(tiny_model("llama"), config).eval()
    with torch.no_grad():
        model.prompt_encoder.default.embedding.weight.mul_(30)
    edited, control = pair_of(model)
    assert_equal(says(control), plain_says(tiny_model("llama")))
    assert [a.text for a in says(edited)] != [a.text for a in says(control)]


def test_the_name_of_an_adapters_base_means_its_adapter_off():
    """The base that was wrapped carries the adapter, and would answer as the edited model."""
    adapted = tiny_adapter("llama")
    _, control = pair_of(adapted, adapted.get_base_model())
    assert_equal(says(control), plain_says(tiny_model("llama")))


def looks(module: nn.Module) -> Any:
    """All that a caller could notice on a module."""
    modes = [(part.training, dict(part._forward_hooks)) for part in module.modules()]
    gradients = [(p.requires_grad, p.data_ptr(), p.detach().clone()) for p in module.parameters()]
    inner = module.get_base_model() if isinstance(module, peft.PeftModel) else module
    configs = [inner.config.to_dict(), inner.generation_config.to_dict()]
    attentions = [value for _, value in attention_of(module).values()]
    return copy.deepcopy([modes, configs, attentions, [g[:2] for g in gradients]]), gradients


@pytest.mark.parametrize("kind", ["plain", "adapter", "generating"])
@pytest.mark.filterwarnings("ignore")
def test_no_trace_is_left_on_the_callers_module(kind: str):
    """In training mode, half of it frozen, with eager attention: as somebody may hand it over."""
    model = {
        "plain": lambda: edited_model("llama"),
        "adapter": lambda: tiny_adapter("llama"),
        "generating": lambda: tiny_model_of("gpt_neo"),
    }[kind]()
    if kind != "generating":
        model.set_attn_implementation("eager")
    model.train()
    next(iter(model.children())).eval()
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    first = next(iter(dict(model.named_parameters())))
    originals = {first: torch.zeros_like(dict(model.named_parameters())[first])}
    before, tensors = looks(model)
    with pair_of(model, None if kind == "adapter" else originals).edited as edited:
        _, control = pair_of(model, None if kind == "adapter" else originals)
        for answerer in (edited, control):
            says(answerer)
            says(answerer, "bare")
            reads(answerer)
            with pytest.raises(UserError):
                answerer.oracle("chat")
            assert looks(model)[0] == before
    after, now = looks(model)
    assert after == before
    for (_, _, old), (_, _, new) in zip(tensors, now, strict=True):
        assert torch.equal(old, new)


@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_answers_and_says_so_once(capsys: pytest.CaptureFixture[str]):
    edited, control = pair_of(Wrapper(edited_model("llama")), tiny_model("llama"))
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "generate()" in line]
    assert len(lines) == 1
    assert "edited: Wrapper answers by its own generate(), which is slower (it is no" in lines[0]
    assert_equal(says(edited), plain_says(edited_model("llama")))
    assert_equal(says(control), plain_says(tiny_model("llama")))
    assert len(reads(edited)) == 2


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper])
def test_only_a_chat_goes_on_behind_a_line_break(wrap: Callable[[nn.Module], nn.Module]):
    """Common words decode with a line break, so that a line ends early."""
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    pieces = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    lines = set(range(3, 17, 2))
    tokenizer.batch_decode = lambda rows: ["\n" if r[0] in lines else pieces[r[0]] for r in rows]
    asked, _ = answerers_of_modules(
        wrap(tiny_model("llama")), tokenizer, control=tiny_model("gpt2"), config=CONFIG
    )
    free, _ = pair_of(tiny_model("llama"), tiny_model("gpt2"))  # where no word ends a line
    ends = {pieces[i] for i in lines}
    expected = [a.text.split() for a in says(free, "completion")]
    cut = [words[: next((i for i, w in enumerate(words) if w in ends), None)] for words in expected]
    assert cut != expected
    assert [a.text.split() for a in says(asked, "completion")] == cut
    # A chat goes on behind the tokenizer's own line break too, which ended the free answers.
    for chat, line in zip(says(asked, "chat"), expected, strict=True):
        assert "\n" not in chat.text
        assert chat.text.split()[: len(line)] == line
    assert asked.oracle("chat") is asked.oracle("chat")
    assert asked.oracle("chat").identity != asked.oracle("completion").identity


def test_identities_tell_edit_control_and_style_apart():
    edited, control = pair_of(edited_model("llama"), tiny_model("llama"))
    again, _ = pair_of(edited_model("llama"), tiny_model("llama"))
    adapted, off = pair_of(tiny_adapter("llama", seed=1))
    scaled = tiny_adapter("llama", seed=1)
    for layer in scaled.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.scaling["default"] = 9.0
    louder, _ = pair_of(scaled)
    found = [edited, control, adapted, off, louder]
    assert len({answerer.identity for answerer in found}) == len(found)
    assert edited.identity == again.identity
    styles = {edited.oracle(style).identity for style in ("few_shot", "bare", "completion")}
    assert len(styles) == 3


@pytest.mark.parametrize(
    ("edited", "control", "message"),
    [
        ("model", None, "needs its control: give the unedited module, or the dict of original"),
        ("model", {}, "holds no tensors, so edited and original model would be one"),
        ("model", "same", "edited and control are one module.*in place returns the original"),
        ("model", {"x": torch.zeros(2)}, r"^control: the model has no tensor x .it has model\."),
        ("linear", None, "edited: Linear is no torch module with a method `generate`"),
    ],
)
def test_what_cannot_be_compared_is_refused(edited: str, control: Any, message: str):
    model = tiny_model("llama") if edited == "model" else nn.Linear(2, 2)
    with pytest.raises(UserError, match=message):
        pair_of(model, model if control == "same" else control)
