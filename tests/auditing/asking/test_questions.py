"""Draws of an edit: their weights, on a space whose questions can be enumerated; and their file."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from contraflow.auditing.asking.questions import AuditQuestion, DrawBook, Sampling, draw_questions
from contraflow.errors import UserError
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.facts.edit import Edit
from contraflow.policy.lora import stack_questions

N_SEEDS = 60


@pytest.fixture(scope="module")
def space() -> Space:
    """3 + 9 + 27 questions, with an adapter that is not zero: P_F and P_Q differ."""
    made = make_space(architecture="llama", n_tokens=3, max_len=3, reward="table", seed=0)
    with torch.no_grad():
        for name, parameter in made.policy.lm.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(3))
    return made


def exact_prior(space: Space) -> dict[str, float]:
    """P_Q of every question, by reading all of them."""
    actions = space.policy.constraints.action_ids[:-1].tolist()
    rows = [row for n in (1, 2, 3) for row in itertools.product(actions, repeat=n)]
    questions = stack_questions(rows, "cpu")
    index = torch.zeros(len(rows), dtype=torch.long)
    log_p = space.policy.prior(FACTS[:1], index, questions).log_p_question.double().exp()
    return dict(zip(space.policy.texts(questions), log_p.tolist(), strict=True))


def test_weights_are_unbiased_on_an_enumerable_space(space: Space) -> None:
    """Means over seeds of Σ w and Σ w · h are 1 and the exact mean, within 3 standard errors."""
    exact = exact_prior(space)
    assert math.isclose(sum(exact.values()), 1.0, abs_tol=1e-5)
    chosen = set(sorted(exact)[::3])
    totals, hits = [], []
    for seed in range(N_SEEDS):
        drawn = draw_questions(space.policy, FACTS[0], Sampling(4, 4, seed, "")).questions
        totals.append(sum(question.weight for question in drawn))
        hits.append(sum(question.weight for question in drawn if question.text in chosen))
    for values, mean in ((totals, 1.0), (hits, sum(exact[text] for text in chosen))):
        error = np.std(values, ddof=1) / math.sqrt(N_SEEDS)
        assert abs(np.mean(values) - mean) < 3 * error
        assert error < 0.1


def test_draws_are_different_and_name_their_sources(space: Space) -> None:
    drawn = draw_questions(space.policy, FACTS[0], Sampling(6, 6, 0, "")).questions
    texts = [question.text for question in drawn]
    assert len(set(texts)) == len(texts)
    by_source = {
        source: sum(source in question.sources for question in drawn)
        for source in ("untrained", "sampler")
    }
    assert by_source == {"untrained": 6, "sampler": 6}


def test_the_whole_space_has_its_own_probabilities_as_weights(space: Space) -> None:
    """With all 39 questions drawn nothing is left to chance: w = P_Q."""
    exact = exact_prior(space)
    drawn = draw_questions(space.policy, FACTS[0], Sampling(39, 0, 0, "")).questions
    assert {question.text for question in drawn} == set(exact)
    for question in drawn:
        assert question.weight == pytest.approx(exact[question.text], rel=1e-4)


def test_kept_draws_are_not_drawn_again(space: Space, tmp_path: Path) -> None:
    sampling = Sampling(3, 3, 0, "sampler")
    edit = Edit(fact=FACTS[0])
    first = DrawBook(tmp_path / "draws.jsonl", sampling)
    first.draw(space.policy, [edit], lambda _: None)
    again = DrawBook(tmp_path / "draws.jsonl", sampling)
    assert again.missing([edit]) == []
    assert again.of(edit) == first.of(edit)
    other = DrawBook(tmp_path / "draws.jsonl", Sampling(3, 3, 0, "another sampler"))
    assert other.missing([edit]) == [edit]


def test_a_damaged_file_of_draws_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "draws.jsonl"
    path.write_text('{"key": 3}\n')
    with pytest.raises(UserError, match=r"draws\.jsonl:1: is not a draw that an audit wrote"):
        DrawBook(path, Sampling(1, 1, 0, ""))


def test_a_draw_that_a_kill_has_cut_is_made_once_more(space: Space, tmp_path: Path) -> None:
    """The second of two edits was being written: the next start draws it, the one after none."""
    path, sampling = tmp_path / "draws.jsonl", Sampling(3, 3, 0, "sampler")
    edits = [Edit(fact=fact) for fact in FACTS[:2]]
    DrawBook(path, sampling).draw(space.policy, edits, lambda _: None)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert DrawBook(path, sampling).missing(edits) == edits[1:]
    DrawBook(path, sampling).draw(space.policy, edits, lambda _: None)
    assert DrawBook(path, sampling).missing(edits) == []
    assert path.read_bytes() == whole


def test_spellings_of_one_text_are_one_question() -> None:
    first = AuditQuestion(
        text="Who?", sources=("untrained",), weight=0.2, log_p_prior=math.log(0.1), log_pf=None
    )
    second = AuditQuestion(
        text="Who?", sources=("sampler",), weight=0.3, log_p_prior=math.log(0.2), log_pf=-1.0
    )
    joined = first.joined(second)
    assert joined.sources == ("untrained", "sampler")
    assert joined.weight == pytest.approx(0.5)
    assert joined.log_p_prior == pytest.approx(math.log(0.3))
    assert joined.log_pf == -1.0
