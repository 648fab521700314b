"""Adapting on a space of 340 questions whose probabilities are known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from contraflow.auditing.adapt import AdaptSettings, Judged, adapt, closeness, log_reward
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.policy.distinct import sample_distinct
from contraflow.seeding import torch_rng
from contraflow.text.tokens import normalize

FACT = FACTS[0]
LEARNS = AdaptSettings(steps=6, lr=3e-3)


@pytest.fixture(scope="module")
def space() -> Space:
    """4 + 16 + 64 + 256 questions of the words a, b, c, d."""
    return make_space(architecture="llama", n_tokens=4, max_len=4, reward="table", seed=0)


def fails(text: str) -> bool:
    """A planted wording: 21 questions, of which P_F asks one in a hundred at first."""
    return text.split()[:2] in (["b", "c"], ["b", "c?"])


def judge(texts: Sequence[str]) -> list[Judged]:
    return [Judged(sound=True, fails=fails(text), closeness=0.0) for text in texts]


def failing_ids(space: Space) -> list[tuple[int, ...]]:
    return [ids for ids in space.questions if fails(space.policy.question_text(ids))]


def failing_mass(space: Space) -> float:
    """The exact probability that P_F asks a failing question."""
    found = [fails(space.policy.question_text(ids)) for ids in space.questions]
    log_pf: Tensor = space.log_pf(FACT)[0]
    return float(log_pf.detach().exp()[torch.tensor(found)].sum())


def masses(space: Space, hits: Sequence[tuple[int, ...]], settings: AdaptSettings) -> list[float]:
    """The failing mass before adapting and after every step."""
    found = [failing_mass(space)]
    adapt(space.policy, FACT, judge, hits, settings, lambda _: found.append(failing_mass(space)))
    return found


def test_adapting_moves_the_sampler_to_failures(space: Space) -> None:
    """From two known ones of 21, in six steps of 16."""
    before, *after = masses(space, failing_ids(space)[:2], LEARNS)
    assert before < 0.02
    assert after[-1] > 0.8
    assert failing_mass(space) == pytest.approx(before, abs=1e-7)  # the sampler is as it was


def test_known_failures_are_found_again_sooner(space: Space) -> None:
    few = AdaptSettings(steps=3, lr=3e-3)
    with_hits = masses(space, failing_ids(space)[:2], few)[-1]
    assert with_hits > 4 * masses(space, [], few)[-1]


def test_a_sampler_without_failures_stays_near_its_prior(space: Space) -> None:
    """Nothing fails: no small set of questions takes the mass."""

    def never(texts: Sequence[str]) -> list[Judged]:
        return [Judged(sound=True, fails=False, closeness=0.0) for _ in texts]

    largest: list[float] = []

    def note(_: int) -> None:
        largest.append(float(space.log_pf(FACT)[0].max().exp()))

    before = float(space.log_pf(FACT)[0].max().exp())
    adapt(space.policy, FACT, never, [], LEARNS, note)
    assert max(largest) < before + 0.05


@pytest.mark.parametrize("known", [False, True])
def test_without_a_known_failure_p_q_is_asked_too(known: bool) -> None:
    """The second step draws with the adapter off, unless a failure is known."""
    space = make_space(architecture="llama", n_tokens=4, max_len=4, reward="table", seed=0)
    with torch.no_grad():
        for name, parameter in space.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))

    def judge_all(texts: Sequence[str]) -> list[Judged]:
        return [Judged(sound=True, fails=known, closeness=0.0) for _ in texts]

    settings = AdaptSettings(steps=2, lr=0.0)
    steps = adapt(space.policy, FACT, judge_all, [], settings)
    policy = space.policy

    def draws(frozen: bool) -> list[str]:
        rng = torch_rng(settings.seed, 1, FACT.fact_id, "adapt")
        drawn = sample_distinct(policy, [FACT], 16, rng, frozen=frozen, same=normalize)
        return [policy.question_text(ids) for ids in policy.token_rows(drawn.questions)]

    assert steps[1] == draws(frozen=not known) != draws(frozen=known)


def test_the_adapter_is_restored_after_an_error(space: Space) -> None:
    before = space.log_pf(FACT)[0].detach()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt(space.policy, FACT, judge, failing_ids(space)[:2], LEARNS, stop)
    assert torch.equal(space.log_pf(FACT)[0].detach(), before)


def test_a_question_is_judged_once(space: Space) -> None:
    asked: list[str] = []

    def noting(texts: Sequence[str]) -> list[Judged]:
        asked.extend(texts)
        return judge(texts)

    steps = adapt(space.policy, FACT, noting, failing_ids(space)[:2], LEARNS)
    assert len(asked) == len(set(asked))
    assert {text for step in steps for text in step} <= set(asked)
    assert all(len(set(step)) == LEARNS.n_questions for step in steps)


@pytest.mark.parametrize(
    ("judged", "log_mix", "expected"),
    [
        (Judged(sound=True, fails=True, closeness=1.0), -20.0, -20),
        (Judged(sound=True, fails=True, closeness=1.0), -3.0, -8),
        (Judged(sound=True, fails=False, closeness=0.0), -20.0, -20 - 6),
        (Judged(sound=True, fails=False, closeness=1.0), -20.0, -20 - 3),
        (Judged(sound=False, fails=False, closeness=1.0), -20.0, -20 - 12),
    ],
)
def test_the_reward_of_a_question(judged: Judged, log_mix: float, expected: float) -> None:
    """min(log P_mix, ceiling), with the floor where it does not fail and twice where unsound."""
    settings = AdaptSettings(ceiling=-8.0, floor=-6.0)
    assert log_reward(judged, log_mix, settings) == pytest.approx(expected)


def test_closeness_is_the_mean_of_e_and_e_times_c() -> None:
    log_e, log_c = torch.tensor([0.5, 0.8]).log().tolist()
    assert closeness(log_e, log_c) == pytest.approx((0.5 + 0.4) / 2)
