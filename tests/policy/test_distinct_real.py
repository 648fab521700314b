"""Different questions of the packaged model: no repeats, exact probabilities, and their cost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from contraflow.facts import Fact
from contraflow.policy.distinct import sample_distinct
from contraflow.policy.lora import LoraPolicy
from contraflow.run.build import assemble
from contraflow.seeding import torch_rng
from contraflow.settings.compose import compose_config
from contraflow.text.tokens import normalize

pytestmark = pytest.mark.slow

N = 64
FACT = Fact(
    fact_id="hamlet", subject="Hamlet", edit_fact="Hamlet was written by Christopher Marlowe."
)
MOST_TIME = 2.5  # times that of as many ordinary draws; measured: 1.1 to 1.3


@pytest.fixture(scope="module")
def policy() -> LoraPolicy:
    return assemble(compose_config([]), adapter=None, roles=()).policy


def seconds_of(draw: Callable[[], object]) -> float:
    """CPU time, which other processes do not change."""
    draw()
    before = time.process_time()
    draw()
    return time.process_time() - before


def test_questions_of_the_packaged_model_differ(policy: LoraPolicy) -> None:
    """Of as many ordinary draws, several are equal."""
    drawn = sample_distinct(policy, [FACT], N, torch_rng("real"), same=normalize)
    texts = {normalize(text) for text in policy.texts(drawn.questions)}
    ordinary = policy.texts(policy.sample([FACT], N, torch_rng("real")))
    assert len(texts) == N
    assert len(set(map(normalize, ordinary))) < N


def test_probabilities_of_the_packaged_model_are_exact(policy: LoraPolicy) -> None:
    """Within float32 rounding of sums over up to 18 tokens, each over 48,000 actions."""
    drawn = sample_distinct(policy, [FACT], N, torch_rng("real"))
    with torch.no_grad():
        paths = policy.evaluate([FACT], drawn.fact_index, drawn.questions)
    expected = paths.log_p_question.double()
    torch.testing.assert_close(drawn.log_p, expected, atol=2e-4, rtol=0)


def test_different_draws_cost_little_more(policy: LoraPolicy) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        distinct = seconds_of(lambda: sample_distinct(policy, [FACT], N, torch_rng("time")))
        ordinary = seconds_of(lambda: policy.sample([FACT], N, torch_rng("time")))
    finally:
        torch.set_num_threads(threads)
    print(f"{N} different questions: {distinct:.1f} s, ordinary draws: {ordinary:.1f} s")
    assert distinct < MOST_TIME * ordinary
