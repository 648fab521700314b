"""A training step does no work twice, by counts, which do not depend on the machine.

Every expected number is derived from the texts of the step, with code that shares nothing with the
package's trees and batches. The last tests remove one optimization at a time, and the count that
depends on it must change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from contraflow.experience.scorer import SampledQuestion
from contraflow.models import token_tree
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.decoder import EagerDecoder
from contraflow.policy import action_log_probs
from contraflow.reward import oracle as oracle_file
from contraflow.reward.judge import scoring
from contraflow.text.prompts import PromptTemplate
from support import work
from support.work import (
    FACTS,
    HEADER_TOKENS,
    JUDGE_BATCH,
    MAX_ANSWER,
    MAX_LEN,
    CountedStep,
    WorkCounter,
    counted_step,
    n_distinct,
    watching_judge,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work.judge_folder(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def step(judge: Path) -> CountedStep:
    return counted_step(judge)


def facts_prompts_are_read_without_their_header(step: CountedStep) -> None:
    """One pass: the common beginning of the facts' own parts ("fact :") is read once, header and
    padding never.
    """
    read = step.found["generate.read"]
    assert (read.passes, read.tokens) == (1, n_distinct(step.prompt_ids(f) for f in FACTS))


def a_token_is_written_once_per_state(step: CountedStep) -> None:
    """Questions that are equal so far share a row. A question of the greatest length must stop, so
    its last token is not read. Logits are computed at each fact's prompt and at each state, over
    the actions only.
    """
    decoded = step.found["generate.decode"]
    head = step.found["generate.head"]
    written = {(fact, ids) for fact, ids in step.states if 0 < len(ids) < MAX_LEN}
    assert decoded.tokens == len(written)
    assert decoded.passes == MAX_LEN - 1
    assert head.states_read == len(FACTS) + len(written)
    assert head.actions == len(step.policy.constraints.action_ids) < len(step.policy.lm.head.weight)


def a_question_is_answered_once_until_its_answer_ends(step: CountedStep) -> None:
    """Equal texts are one question, whichever facts they are about. An answer of n tokens takes n -
    1 rows, because its first token comes from the prompt and its last is never read. Logits are
    computed at one position of each prompt and each row.
    """
    texts = {s.text: step.ask_ids(s) for s in step.sampled}
    read = step.found["answer.read"]
    decoded = step.found["answer.decode"]
    head = step.found["answer.head"]
    assert len(step.written) == len(texts)
    assert (read.passes, read.tokens) == (1, n_distinct(texts.values()))
    assert decoded.tokens == sum(len(ids) - 1 for ids in step.written)
    assert decoded.passes == max(map(len, step.written)) - 1
    assert head.states_read == len(texts) + decoded.tokens


def a_pair_is_judged_once_beside_pairs_of_its_length(step: CountedStep) -> None:
    """One call, of both statements about each answer. Sorted by length, each row of a batch of B is
    padded by at most the batch's longest less its shortest. Over the batches these differences add
    up to at most that of the whole call, so the padding is at most B times that.

    Two questions of a fact may have one answer: that pair is read once.
    """
    read = step.found["judge.read"]
    assert len(step.judged) == 2 * len(step.distinct)
    assert len(step.pairs) < len(step.judged)
    assert read.passes == -(-len(step.pairs) // JUDGE_BATCH)
    padding = read.tokens - sum(step.pairs)
    assert 0 <= padding <= JUDGE_BATCH * (max(step.pairs) - min(step.pairs))


def the_prior_reads_each_state_once(step: CountedStep) -> None:
    _each_state_once(step, "prior")


def learning_reads_each_state_once(step: CountedStep) -> None:
    """Includes the backward pass, which needs no logits."""
    _each_state_once(step, "learn")


def _each_state_once(step: CountedStep, phase: str) -> None:
    """The tree's tokens in one pass; logits at the states only, not within prompts, over the
    actions only.
    """
    paths = [(*step.prompt_ids(s.fact), *s.ids) for s in step.sampled]
    read = step.found[f"{phase}.read"]
    head = step.found[f"{phase}.head"]
    assert (read.passes, read.tokens) == (1, n_distinct(paths))
    assert head.states_read == len(step.states)
    assert head.passes == -(-len(step.states) // action_log_probs.BLOCK_STATES)
    assert head.actions == len(step.policy.constraints.action_ids) < len(step.policy.lm.head.weight)


CHECKS: list[Callable[[CountedStep], None]] = [
    facts_prompts_are_read_without_their_header,
    a_token_is_written_once_per_state,
    a_question_is_answered_once_until_its_answer_ends,
    a_pair_is_judged_once_beside_pairs_of_its_length,
    the_prior_reads_each_state_once,
    learning_reads_each_state_once,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_work_is_done_twice(step: CountedStep, check: Callable[[CountedStep], None]) -> None:
    check(step)


def test_the_step_has_every_case_that_is_counted(step: CountedStep) -> None:
    """Long headers, repeated questions (of one fact, and of two), questions and answers of several
    lengths.
    """
    oracle = step.scorer.oracle
    assert step.policy._prefix.length == oracle._prefix.length == HEADER_TOKENS  # type: ignore[union-attr]
    texts = {s.text for s in step.sampled}
    assert len(texts) < len(step.distinct) < len(step.sampled)
    assert len({len(s.ids) for s in step.sampled}) > 2
    assert {len(ids) for ids in step.written} > {MAX_ANSWER}
    assert len(set(step.pairs)) > 2
    legs = {"read", "decode", "head"}
    phases = {f"{p}.{leg}" for p in ("generate", "answer") for leg in legs}
    phases |= {f"{p}.{leg}" for p in ("prior", "learn") for leg in ("read", "head")}
    assert {name for name, work in step.found.items() if work.passes} == {*phases, "judge.read"}


def test_questions_that_were_scored_cost_nothing(step: CountedStep) -> None:
    counter = WorkCounter()
    with (
        counter.watching(step.policy.lm),
        watching_judge(step.scorer.judge, counter),
        counter.phase("again"),
    ):
        scored = step.scorer.score(step.sampled, step=1)
    assert len(scored) == len(step.sampled)
    assert [work.passes for work in counter.found.values()] == [0], "the judge had no calls"


def test_tokens_of_a_question_against_straightforward(step: CountedStep) -> None:
    """That pipeline reads a question's whole prompt for each use, for repeated questions too:

    sampling P + L, answer A + n - 1, the answer's likelihood A + n, prior and learning P + L + 1
    each, where P and A are whole prompts, L and n the tokens of question and answer. Every token
    that the package reads is among those, and none of them is a header's, of which each question
    has three of the task and two of the answer.

    So the difference is at least 5 x 68 = 340 per question. Of a question the package reads at most
    its own 5 tokens in prior and learning and 4 of them in sampling (14), 10 of the oracle's prompt
    and 5 of the answer (15), and three times its share of the facts' prompts, 7 + 8 + 17 tokens for
    24 questions (4): 33. The ratio is above 340 / 33 + 1.
    """
    n = len(step.sampled)
    texts = sorted({s.text for s in step.sampled}, key=_by_length)
    answers = dict(zip(texts, step.written, strict=True))
    plain = 0
    for s in step.sampled:
        task = HEADER_TOKENS + len(step.prompt_ids(s.fact))
        ask = HEADER_TOKENS + len(step.ask_ids(s))
        question = len(s.ids)
        answer = len(answers[s.text])
        plain += (task + question) + (2 * ask + 2 * answer - 1) + 2 * (task + question + 1)
    ours = sum(w.tokens for name, w in step.found.items() if not name.startswith("judge"))
    assert plain - ours >= 5 * HEADER_TOKENS * n
    assert ours / n <= 33
    assert plain / ours > 340 / 33 + 1, f"{plain / n:.0f} and {ours / n:.0f} tokens a question"


def _by_length(text: str) -> tuple[int, str]:
    """The order in which the oracle answers."""
    return len(text), text


def read_headers_again(patch: pytest.MonkeyPatch) -> None:
    """A prompt without a constant header: all of it is the facts' own."""
    patch.setattr(work, "task_prompt", lambda text: PromptTemplate("", text))
    patch.setattr(work, "answer_prompt", lambda text: PromptTemplate("", text))


def share_no_beginnings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(token_tree, "_n_shared", lambda tokens, _: np.zeros(len(tokens), np.int64))


def read_the_whole_vocabulary(patch: pytest.MonkeyPatch) -> None:
    def logits(decoder: EagerDecoder) -> Tensor:
        return decoder._lm.logits(decoder._context.last_hidden)[:, decoder._actions]

    patch.setattr(EagerDecoder, "logits", _unless(EagerDecoder.logits, logits))


def _unless(
    usual: Callable[[EagerDecoder], Tensor], other: Callable[[EagerDecoder], Tensor]
) -> Callable[..., Tensor]:
    """Replace the method for the sampler only: the oracle's decoder has no actions."""
    return lambda decoder: usual(decoder) if decoder._actions is None else other(decoder)


def give_each_question_a_row(patch: pytest.MonkeyPatch) -> None:
    """Decode in fixed shapes, as on a GPU: finished texts stay, and equal ones share no row."""
    patch.setattr(CausalLM, "decodes_statically", True)


def answer_known_questions_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        oracle_file.FrozenLMOracle, "answer", lambda oracle, texts: oracle._generate(list(texts))
    )


def treat_equal_questions_as_different(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SampledQuestion, "key", property(id))


def judge_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    def arrival(rows: range, key: Callable[[int], int]) -> list[int]:  # noqa: ARG001
        return sorted(rows, key=lambda row: row % 8)  # facts in turn: they are sorted by length

    patch.setattr(scoring, "sorted", arrival, raising=False)


def run_the_backbone_again_for_gradients(patch: pytest.MonkeyPatch) -> None:
    usual = CausalLM.tree_hidden

    def twice(lm: CausalLM, *args: object) -> Tensor:
        if not torch.is_grad_enabled():
            return usual(lm, *args)  # type: ignore[arg-type]
        return checkpoint(usual, lm, *args, use_reentrant=False)  # type: ignore[return-value]

    patch.setattr(CausalLM, "tree_hidden", twice)


@pytest.mark.parametrize(
    ("regression", "check"),
    [
        (read_headers_again, CHECKS[0]),
        (read_headers_again, CHECKS[2]),
        (read_headers_again, CHECKS[5]),
        (share_no_beginnings, CHECKS[0]),
        (share_no_beginnings, CHECKS[4]),
        (share_no_beginnings, CHECKS[5]),
        (read_the_whole_vocabulary, CHECKS[1]),
        (give_each_question_a_row, CHECKS[1]),
        (give_each_question_a_row, CHECKS[2]),
        (answer_known_questions_again, CHECKS[2]),
        (treat_equal_questions_as_different, CHECKS[3]),
        (judge_in_order_of_arrival, CHECKS[3]),
        (run_the_backbone_again_for_gradients, CHECKS[5]),
    ],
    ids=lambda part: part.__name__,
)
def test_the_counts_notice(
    judge: Path,
    monkeypatch: pytest.MonkeyPatch,
    regression: Callable[[pytest.MonkeyPatch], None],
    check: Callable[[CountedStep], None],
) -> None:
    regression(monkeypatch)
    slower = counted_step(judge)
    with pytest.raises(AssertionError):
        check(slower)
