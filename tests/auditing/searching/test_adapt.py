"""Adapting on a space of 340 questions whose probabilities are known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from contraflow.auditing.searching.adapt import AdaptSettings, adapt
from contraflow.auditing.searching.failure_reward import FailureReward, Judged
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.policy.distinct import sample_distinct
from contraflow.seeding import torch_rng
from contraflow.text.tokens import normalize

FACT = FACTS[0]
LONE = "d a?"
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


def one_mode(texts: Sequence[str]) -> list[int]:
    return [0] * len(texts)


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
    adapt(
        space.policy,
        FACT,
        judge,
        one_mode,
        hits,
        settings,
        lambda _: found.append(failing_mass(space)),
    )
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
    adapt(space.policy, FACT, never, one_mode, [], LEARNS, note)
    assert max(largest) < before + 0.05


@pytest.mark.parametrize(("told_apart", "least", "most"), [(True, 0.3, 0.7), (False, 0.0, 0.1)])
def test_a_mode_of_one_failure_is_asked_as_often_as_one_of_21(
    space: Space, told_apart: bool, least: float, most: float
) -> None:
    """Both modes are known by one question; without modes the large one takes nearly all."""
    (lone,) = [ids for ids in space.questions if space.policy.question_text(ids) == LONE]

    def judge_both(texts: Sequence[str]) -> list[Judged]:
        return [Judged(True, fails(text) or text == LONE, 0.0) for text in texts]

    def modes(texts: Sequence[str]) -> list[int]:
        return [int(told_apart and text == LONE) for text in texts]

    mass: list[tuple[float, float]] = []

    def note(_: int) -> None:
        of_lone = float(space.log_pf(FACT)[0][space.questions.index(lone)].exp())
        mass.append((of_lone, failing_mass(space)))

    hits = [lone, failing_ids(space)[0]]
    settings = AdaptSettings(steps=40, lr=3e-3, reward=FailureReward(crowding=1.0))
    adapt(space.policy, FACT, judge_both, modes, hits, settings, note)
    of_lone, of_others = (sum(masses) / 20 for masses in zip(*mass[-20:], strict=True))
    assert of_lone + of_others > 0.9
    assert least <= of_lone <= most


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
    steps = adapt(space.policy, FACT, judge_all, one_mode, [], settings)
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
        adapt(space.policy, FACT, judge, one_mode, failing_ids(space)[:2], LEARNS, stop)
    assert torch.equal(space.log_pf(FACT)[0].detach(), before)


def test_a_question_is_judged_once(space: Space) -> None:
    asked: list[str] = []

    def noting(texts: Sequence[str]) -> list[Judged]:
        asked.extend(texts)
        return judge(texts)

    steps = adapt(space.policy, FACT, noting, one_mode, failing_ids(space)[:2], LEARNS)
    assert len(asked) == len(set(asked))
    assert {text for step in steps for text in step} <= set(asked)
    assert all(len(set(step)) == LEARNS.n_questions for step in steps)
