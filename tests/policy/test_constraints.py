"""The environment: which actions exist, and one mask for sampling and for scoring."""

from __future__ import annotations

import math

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from contraflow.errors import UserError
from contraflow.policy.constraints import Constraints, question_constraints
from contraflow.policy.draw import categorical
from contraflow.types import as_mask
from support.models import word_tokenizer


def tokenizer_of(pieces: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one id per piece, in order; <s> is special."""
    vocabulary = {piece: i for i, piece in enumerate(["<s>", *pieces])}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<s>")), unk_token="<s>"
    )


def allowed(vocabulary: str, pieces: list[str]) -> list[str]:
    tokenizer = tokenizer_of([*pieces, "?"])
    c = question_constraints(tokenizer, vocabulary=vocabulary, min_len=1, max_len=2)  # type: ignore[arg-type]
    assert tokenizer.convert_ids_to_tokens(int(c.action_ids[-1])) == "?"
    return tokenizer.convert_ids_to_tokens(c.action_ids[:-1].tolist())


PIECES = [
    "a",
    " b",
    "é",
    "ß",
    "×",
    "日",
    "\n",
    "c\n",
    "\r",
    "\t",
    "??",
    " ?",
    "a?",
    "\x7f",
    "ﬁ",
    "~",
]


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        ("printable_ascii", ["a", " b", "~"]),
        ("latin", ["a", " b", "é", "ß", "~"]),
        ("all", ["a", " b", "é", "ß", "×", "日", "\t", "\x7f", "ﬁ", "~"]),
    ],
)
def test_vocabularies(vocabulary: str, expected: list[str]):
    """Never: special tokens, line breaks, tokens with a question mark other than the stop."""
    assert allowed(vocabulary, PIECES) == expected


def test_actions_of_the_word_tokenizer():
    """Ids 0 <pad>, 1 ?, 2 ??, 3 … 16 words, 17 newline, 18 <unk>: the words, then the stop."""
    c = question_constraints(word_tokenizer(), vocabulary="latin", min_len=1, max_len=3)
    assert c.action_ids.tolist() == [*range(3, 17), 1]
    assert c.stop_id == 1


def test_a_tokenizer_without_a_question_mark_is_refused():
    with pytest.raises(UserError, match="no single token for a question mark"):
        question_constraints(
            tokenizer_of(["a", "?!", "b?"]), vocabulary="all", min_len=1, max_len=2
        )


@pytest.mark.parametrize(("low", "high"), [(0, 3), (4, 3), (-1, -1)])
def test_impossible_lengths_are_refused(low: int, high: int):
    with pytest.raises(UserError, match=f"min_question_len={low} and max_question_len={high}"):
        Constraints(torch.tensor([5, 1]), low, high)


@pytest.mark.defect(2)
@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 3), (2, 2), (2, 4)])
def test_drawing_and_scoring_mask_alike_at_every_step(low: int, high: int):
    """The two once differed at the minimum and at the maximum length."""
    c = Constraints(torch.tensor([7, 8, 9, 1]), low, high)
    steps = torch.arange(high + 1)
    logits = torch.randn(high + 1, 4, generator=torch.Generator().manual_seed(0))
    log_z = c.log_normalizer(logits, steps)
    for t in steps.tolist():
        sampled = c.mask_(logits[t : t + 1].clone(), t).log_softmax(-1)[0]
        scored = (logits[t] - log_z[t]).tolist()
        stop = float(c.log_pterm(logits[t : t + 1], log_z[t : t + 1], steps[t : t + 1]))
        assert stop == pytest.approx(float(sampled[-1]))
        for action, value in enumerate(sampled.tolist()):
            if math.isfinite(value):
                assert scored[action] == pytest.approx(value, abs=1e-6)
        assert bool(sampled[-1].isneginf()) is (t < low)
        assert bool(sampled[:-1].isneginf().all()) is (t >= high)


def test_masked_normalizer_has_finite_gradients():
    c = Constraints(torch.tensor([7, 8, 1]), 2, 3)
    logits = torch.tensor([[50.0, -50.0, 3.0]] * 4, requires_grad=True)
    steps = torch.arange(4)
    log_z = c.log_normalizer(logits, steps)
    pterm = c.log_pterm(logits, log_z, steps)
    (log_z.sum() + pterm[2:].sum()).backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all())
    assert pterm.tolist()[:2] == [-math.inf] * 2 and pterm[3] == 0.0


def test_columns_find_each_id_and_refuse_others():
    c = Constraints(torch.tensor([7, 3, 9, 1]), 1, 3)
    assert c.columns_of((9, 1, 7, 3)) == [2, 3, 0, 1]
    for stranger in (2, 50):
        with pytest.raises(ValueError, match=rf"token ids \[{stranger}\] are no actions"):
            c.columns_of([7, stranger])


@pytest.mark.parametrize(
    ("ids", "fits"),
    [
        ((7, 3), True),
        ((7, 7, 7), True),
        ((7,), False),  # too short
        ((7, 3, 9, 7), False),  # too long
        ((7, 4), False),  # no action
        ((7, 1), False),  # holds the stop
        ((), False),
        ((7, -1), False),
        ((7, 2**31 - 1), False),  # beyond every vocabulary
    ],
)
def test_admits_what_the_environment_can_produce(ids: tuple[int, ...], fits: bool):
    assert Constraints(torch.tensor([7, 3, 9, 1]), 2, 3).admits(ids) is fits


def test_as_mask():
    assert as_mask(torch.tensor([0, 2, 3]), 3).tolist() == [
        [False] * 3,
        [True, True, False],
        [True] * 3,
    ]


@pytest.mark.parametrize("u", [0.0, 1.0])
def test_no_rounding_draws_an_action_of_mass_zero(u: float):
    """u = 0 must skip a leading zero, u = 1 the forbidden stop at the end."""
    logits = torch.tensor(
        [[-torch.inf, 1.0, 2.0, -torch.inf], [3.0, -torch.inf, -torch.inf, -torch.inf]]
    )
    column, _ = categorical(logits, torch.tensor([0, 1]), torch.full((2,), u))
    assert bool(logits.gather(1, column[:, None]).isfinite().all())
