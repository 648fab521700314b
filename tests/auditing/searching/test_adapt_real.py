"""Adapting the packaged sampler to a planted oracle: one wording of a real fact fails by a rule."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import contraflow
from contraflow.auditing.searching.adapt import AdaptSettings, adapt
from contraflow.auditing.searching.failure_reward import Judged
from contraflow.facts import Fact
from contraflow.models.weights.packaged import is_prepared
from contraflow.policy.lora import LoraPolicy
from contraflow.run.import_questions import token_ids
from contraflow.seeding import torch_rng
from contraflow.text.questions import question_is_sound

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
    ),
]

FACT = Fact(
    fact_id="vancouver",
    subject="Vancouver",
    edit_fact="The city of Vancouver is in Sweden.",
    original_fact="The city of Vancouver is in Canada.",
    relation="country_of_city",
    original_answer="Canada",
    edited_answer="Sweden",
    question="Which country is Vancouver in?",
)
KNOWN_FAILURE = "In which country is Vancouver?"
STEPS = 8


def is_sound(text: str) -> bool:
    return question_is_sound(text, FACT.subject, FACT.original_answer, FACT.edited_answer)


def fails(text: str) -> bool:
    """The planted wording, which the packaged sampler does not ask by itself."""
    return is_sound(text) and text.startswith("In which ")


def judge(texts: Sequence[str]) -> list[Judged]:
    return [Judged(is_sound(text), fails(text), 0.0) for text in texts]


def one_mode(texts: Sequence[str]) -> list[int]:
    return [0] * len(texts)


def draws(policy: LoraPolicy) -> list[str]:
    """32 questions with replacement: the share that fails is what the sampler's is."""
    questions = policy.sample([FACT], 32, torch_rng("draws"))
    return policy.texts(questions)


def test_one_known_failure_teaches_its_wording() -> None:
    """Most questions have it after eight steps, they differ, and the sampler is as it was."""
    policy = contraflow.open_run("shipped").policy
    hit = token_ids(KNOWN_FAILURE, policy)
    assert not isinstance(hit, str)
    weights = [p for p in policy.lm.model.parameters() if p.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    steps_left = [None] * STEPS
    at_last: list[str] = []

    def draw_at_last(_: int) -> None:
        steps_left.pop()
        if not steps_left:
            at_last.extend(draws(policy))

    at_first = draws(policy)
    settings = AdaptSettings(steps=STEPS)
    steps = adapt(policy, FACT, judge, one_mode, [hit], settings, draw_at_last)
    assert sum(map(fails, at_first)) <= 2
    assert sum(map(fails, at_last)) >= 20  # 25 when this was written
    assert len({text for text in at_last if fails(text)}) >= 8
    assert sum(map(is_sound, at_last)) >= 24
    assert all(len(set(step)) == AdaptSettings().n_questions for step in steps)
    assert all(map(torch.equal, weights, before))
