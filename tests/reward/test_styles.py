"""The prompts of the four styles, and what part of a text is the answer."""

from __future__ import annotations

import pytest
from tokenizers.processors import TemplateProcessing

from contraflow.errors import UserError
from contraflow.reward.oracle.styles import answer_text, ends_at_line_break, style_prompt
from contraflow.types import AskStyle
from support.models import word_tokenizer

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def chat_tokenizer(template: str = TEMPLATE) -> object:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("few_shot", "a {b}\nQ: who?\nA:"),
        ("bare", "Question: who?\nAnswer:"),
        ("completion", "who?"),
        ("chat", "<user>\nwho?</s>\n<assistant>\n"),
    ],
)
def test_a_question_in_each_style(style: AskStyle, text: str):
    prompt = style_prompt(style, "a {{b}}\nQ: {question}\nA:", chat_tokenizer())
    assert prompt.header + prompt.body(question="who?") == text


def test_braces_of_a_chat_template_are_text():
    prompt = style_prompt(
        "chat", "", chat_tokenizer('{"x": 1}{{ messages[0]["content"] }}{% raw %}{}{% endraw %}')
    )
    assert prompt.header + prompt.body(question="{who}?") == '{"x": 1}{who}?{}'


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_chat_begins_with_one_bos(adds_bos: bool):
    """A template writes BOS out, and most tokenizers put it before every text as well."""
    tokenizer = chat_tokenizer("{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]")
    tokenizer.bos_token = "<unk>"
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<unk> $A", special_tokens=[("<unk>", 18)]
        )
    prompt = style_prompt("chat", "", tokenizer)
    text = prompt.header + prompt.body(question="who")
    assert text == ("" if adds_bos else "<unk>") + "[INST] who [/INST]"


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (None, "has no chat template"),
        (word_tokenizer(), "has no chat template"),
        (chat_tokenizer("{{ raise_exception('system first') }}"), "fails .system first"),
        (chat_tokenizer("hello"), "shows the question 0 times"),
    ],
)
def test_a_chat_without_a_usable_template_is_refused(tokenizer: object, reason: str):
    with pytest.raises(UserError, match=f"^ask=chat: .*{reason}.* ask=few_shot or ask=bare"):
        style_prompt("chat", "", tokenizer)


def test_only_a_chat_answers_in_several_lines():
    written = " Sure!\n\nIt is Oslo. \n"
    for style in ("few_shot", "bare", "completion"):
        assert ends_at_line_break(style)
        assert answer_text(style, written) == "Sure!"
    assert not ends_at_line_break("chat")
    assert answer_text("chat", written) == "Sure! It is Oslo."
