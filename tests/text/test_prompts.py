"""Templates: a header shared by all rows, a body per row, and errors that name the key."""

from __future__ import annotations

import pytest

from contraflow.errors import UserError
from contraflow.text.prompts import PromptTemplate, answer_prompt, task_prompt

FEW_SHOT = "Fact: Rome.\nQuestion: Who?\n\nFact: {edit_fact}\nQuestion:"


def test_the_header_ends_before_the_first_placeholders_line():
    prompt = task_prompt(FEW_SHOT)
    assert prompt.header == "Fact: Rome.\nQuestion: Who?\n\n"
    assert (
        prompt.body(edit_fact="Bacon wrote Hamlet.", subject="Hamlet")
        == "Fact: Bacon wrote Hamlet.\nQuestion:"
    )


def test_header_and_body_are_the_whole_prompt():
    prompt = task_prompt(FEW_SHOT)
    assert prompt.header + prompt.body(edit_fact="X", subject="Y") == FEW_SHOT.format(edit_fact="X")


def test_the_opening_is_what_every_body_begins_with():
    assert task_prompt(FEW_SHOT).opening == "Fact: "
    assert task_prompt("{subject} {{1}}").opening == ""
    assert task_prompt("a\nset {{1}} {subject}").opening == "set {1} "


def test_a_template_that_opens_with_a_placeholder_has_no_header():
    prompt = task_prompt("Ask about {subject}:\nFact: {edit_fact}\n")
    assert prompt.header == ""
    assert prompt.body(subject="Rome", edit_fact="E") == "Ask about Rome:\nFact: E\n"


def test_braces_in_facts_are_text_not_placeholders():
    prompt = task_prompt("Fact: {edit_fact}\nQ:")
    assert (
        prompt.body(subject="s", edit_fact="{subject} {0} {{x}}") == "Fact: {subject} {0} {{x}}\nQ:"
    )


def test_doubled_braces_are_literal_wherever_they_stand():
    prompt = task_prompt("a }} b\nset {{1}}\nlast {subject} {{2}}")
    assert prompt.header + prompt.body(subject="S", edit_fact="") == "a } b\nset {1}\nlast S {2}"


@pytest.mark.parametrize("example", ["Set {{1, 2}}\n", "{{\n", "a {{{{b\n}}\n"])
def test_a_literal_brace_in_an_example_stays_in_the_header(example: str):
    """Its line was taken for that of the first placeholder, and nothing was shared."""
    template = answer_prompt(example + "Q: {question} {{x}}\nA:")
    assert template.header == example.format()
    assert template.body(question="why") == "Q: why {x}\nA:"
    assert template.opening == "Q: "


def test_a_brace_before_a_placeholder_on_its_line_is_text():
    template = answer_prompt("Ask.\n{{{question}}}")
    assert template.header == "Ask.\n"
    assert template.body(question="why") == "{why}"


def test_answer_prompt_takes_a_question_only():
    assert answer_prompt("Q: {question}\nA:").body(question="Who?") == "Q: Who?\nA:"
    with pytest.raises(
        UserError, match=r"prompt\.answer: unknown placeholder \{subject\}; use only question"
    ):
        answer_prompt("Q: {question} {subject}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Ask about {topic} {subject}",
            r"prompt\.task: unknown placeholder \{topic\}; use only edit_fact, subject",
        ),
        ("Ask {}", r"unknown placeholder \{\}"),
        ("Ask {subject.__class__}", r"unknown placeholder \{subject\.__class__\}"),
        ("Ask a question", r"prompt\.task: the template shows none of edit_fact, subject"),
        ("Ask {{subject}}", r"shows none of"),
        (
            "Ask {subject",
            r"prompt\.task: malformed template .*write a literal brace as \{\{ or \}\}",
        ),
        ("Ask } {subject}", r"malformed template"),
        ("", r"shows none of"),
    ],
)
def test_templates_that_cannot_work_are_refused_by_their_key(text: str, message: str):
    with pytest.raises(UserError, match=message):
        task_prompt(text)


def test_identity_changes_with_every_part_and_with_nothing_else():
    same = task_prompt(FEW_SHOT).identity
    assert same == task_prompt(FEW_SHOT).identity
    others = [
        FEW_SHOT + " ",
        FEW_SHOT.replace("Rome", "Oslo"),
        FEW_SHOT.replace("{edit_fact}", "{subject}"),
    ]
    assert len({same, *(task_prompt(t).identity for t in others)}) == 4
    assert PromptTemplate("ab", "c").identity != PromptTemplate("a", "bc").identity
