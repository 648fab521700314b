"""Any text as a template: header and body give the text again, or an error names the key."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contraflow.text.prompts import answer_prompt, task_prompt
from fuzz.mutations import examples, or_user_error, texts

pytestmark = pytest.mark.slow

PIECES = [
    *("{", "}", "{{", "}}", "{subject}", "{edit_fact}", "{question}", "{{subject}}", "{}", "{0}"),
    *("{subject!r}", "{subject:>9}", "{subject:{edit_fact}}", "{subject.x}", "{subject[0]}", "!"),
    *("{question!s}", "{question:x}", "{question:{question}}", "{ question}", "{question !}"),
    *("\n", "\r\n", " ", "Fact: ", "\u2028", ":"),
]
TEMPLATES = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=8).map("".join),
)


@example(text="{subject:{edit_fact}}", subject="", edit_fact=" ")
@example(text="{subject:{}}", subject="", edit_fact="")
@example(text="{subject:x}", subject="Rome", edit_fact="")
@example(text="{a\nb}", subject="", edit_fact="")
@given(text=TEMPLATES, subject=texts(), edit_fact=texts())
@examples(1500)
def test_a_task_prompt_is_its_text_or_an_error(text: str, subject: str, edit_fact: str) -> None:
    prompt, message = or_user_error(lambda: task_prompt(text))
    if prompt is None:
        assert message is not None
        assert message.startswith("prompt.task: ")
        assert len(message.splitlines()) == 1
        return
    fields = {"subject": subject, "edit_fact": edit_fact}
    assert prompt.header + prompt.body(**fields) == text.format(**fields)
    assert prompt.body(**fields).startswith(prompt.opening)


@given(text=TEMPLATES, question=texts())
@examples(1500)
def test_an_answer_prompt_is_its_text_or_an_error(text: str, question: str) -> None:
    prompt, message = or_user_error(lambda: answer_prompt(text))
    if prompt is None:
        assert message is not None
        assert message.startswith("prompt.answer: ")
        assert len(message.splitlines()) == 1
        return
    assert prompt.header + prompt.body(question=question) == text.format(question=question)
    assert prompt.body(question=question).startswith(prompt.opening)
