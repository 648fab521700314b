"""How a question is put to a model, and which part of what it writes is the answer.

| style | prompt | the answer |
|---|---|---|
| few_shot | the examples of `prompt.answer` | the first line |
| bare | "Question: …", "Answer:" | the first line |
| completion | the text itself, to be continued | the first line |
| chat | the model's chat template, the question as the user's turn | all of it, on one line |

An answer is at most `oracle.max_answer_tokens` long in every style. In a chat a line break does not
end it: many chat models begin with a line that answers nothing ("Sure!"), and a verdict on that
line would call a model wrong that goes on to say the right thing.
"""

from __future__ import annotations

from typing import Any

from contraflow.errors import UserError
from contraflow.text.prompts import PromptTemplate, answer_prompt
from contraflow.types import AskStyle

BARE = "Question: {question}\nAnswer:"
COMPLETION = "{question}"

# Stands for the question while a chat template is rendered; no template contains it.
_SENTINEL = "contraflow8question"
# Llama 3 writes today's date into its prompt; an answer must not depend on the day.
_DATE = "26 Jul 2024"


def style_prompt(style: AskStyle, few_shot: str, tokenizer: Any = None) -> PromptTemplate:
    """Return the prompt of a style.

    Args:
        few_shot: the text of `prompt.answer`.
        tokenizer: whose chat template is used; only the style ``chat`` needs it.
    Raises: UserError for a malformed `prompt.answer`, and for ``chat`` where the tokenizer has no
        chat template.
    """
    if style == "few_shot":
        return answer_prompt(few_shot)
    if style == "chat":
        return _parse("the chat template", _chat_text(tokenizer))
    return _parse(style, BARE if style == "bare" else COMPLETION)


def ends_at_line_break(style: AskStyle) -> bool:
    """Whether an answer in this style is its first line only."""
    return style != "chat"


def answer_text(style: AskStyle, written: str) -> str:
    """Return the answer in what a model wrote, on one line and without white space around it."""
    if ends_at_line_break(style):
        return written.partition("\n")[0].strip()
    return " ".join(written.split())


def _parse(name: str, text: str) -> PromptTemplate:
    return PromptTemplate.parse(name, text, {"question"}, {"question"})


def _chat_text(tokenizer: Any) -> str:
    """The chat template as a prompt template: braces doubled, {question} in the user's turn."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "ask=chat: the tokenizer of this model has no chat template; "
            "ask=few_shot or ask=bare need none"
        )
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": _SENTINEL}],
            tokenize=False,
            add_generation_prompt=True,
            date_string=_DATE,
            enable_thinking=False,  # Qwen3: a few tokens have no room for a reasoning
        )
    except Exception as error:  # whatever a template of somebody else raises
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(
            f"ask=chat: the chat template of this model fails ({reason}); "
            "ask=few_shot or ask=bare need none"
        ) from error
    if text.count(_SENTINEL) != 1:
        raise UserError(
            f"ask=chat: the chat template shows the question {text.count(_SENTINEL)} times instead "
            "of once; ask=few_shot or ask=bare need none"
        )
    text = _without_leading_token(text, tokenizer)
    return str(text.replace("{", "{{").replace("}", "}}").replace(_SENTINEL, "{question}"))


def _without_leading_token(text: str, tokenizer: Any) -> str:
    """Take off a BOS token that the tokenizer will put before every text by itself."""
    bos = tokenizer.bos_token
    if not bos or not text.startswith(bos):
        return text
    added = tokenizer("", add_special_tokens=True)["input_ids"]
    return text[len(bos) :] if added[:1] == [tokenizer.bos_token_id] else text
