"""Two facts about words of the tiny vocabulary; their prompts differ in length."""

from __future__ import annotations

from contraflow.facts import Fact

FACTS = [
    Fact(
        fact_id="a",
        subject="hamlet",
        edit_fact="rome wrote hamlet",
        original_answer="who",
        edited_answer="rome",
    ),
    Fact(fact_id="b", subject="rome", edit_fact="the capital of the city is rome in hamlet"),
]
