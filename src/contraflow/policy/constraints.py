"""The environment: which actions exist at which step.

The same mask is applied when sampling and when computing log-probabilities. The design that this
package started from masked only the sampling, so it trained another distribution than it sampled
from. Actions are columns: one per allowed token, and the stop last. The stop is a single action
although several token ids spell a question mark; the other ids are not actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.errors import UserError
from contraflow.text.alphabet import Vocabulary, is_in_alphabet


@dataclass(frozen=True, eq=False)
class Constraints:
    """Allowed actions and lengths: a question has min_len to max_len tokens, then the stop.

    Raises: UserError unless 1 <= min_len <= max_len.
    """

    action_ids: Int[Tensor, " a"]  # vocabulary id of each action; the stop is the last
    min_len: int
    max_len: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_len <= self.max_len:
            raise UserError(
                f"min_question_len={self.min_len} and max_question_len={self.max_len}: "
                "need 1 <= min_question_len <= max_question_len"
            )

    @property
    def stop_id(self) -> int:
        """Vocabulary id of the stop."""
        return int(self.action_ids[-1])

    def log_normalizer(
        self, logits: Float[Tensor, "n a"], t: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Return log Σ exp over the actions that exist at step t, i.e. after t tokens.

        Uses slices instead of a mask, so the logits are not copied.
        """
        tokens = logits[:, :-1].logsumexp(-1)
        stop = logits[:, -1]
        both = torch.where(t < self.min_len, tokens, torch.logaddexp(tokens, stop))
        return torch.where(t >= self.max_len, stop, both)

    def log_pterm(
        self, logits: Float[Tensor, "n a"], log_z: Float[Tensor, " n"], t: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Return log P(stop) at step t: -inf where the stop is masked, 0 where it is forced.

        ``log_z`` is the result of `log_normalizer`.
        """
        return (logits[:, -1] - log_z).masked_fill(t < self.min_len, -torch.inf)

    def mask_(self, logits: Float[Tensor, "n a"], t: int) -> Float[Tensor, "n a"]:
        """Mask in place the actions that do not exist at step t, the same for all rows."""
        if t < self.min_len:
            logits[:, -1] = -torch.inf
        if t >= self.max_len:
            logits[:, :-1] = -torch.inf
        return logits

    def mask_early_stop_(
        self, logits: Float[Tensor, "n a"], step: Int[Tensor, " 1"]
    ) -> Float[Tensor, "n a"]:
        """`mask_` for a step below max_len that is a tensor, so that the host need not read it."""
        logits[:, -1:].masked_fill_(step < self.min_len, -torch.inf)
        return logits

    @cached_property
    def _column_of(self) -> dict[int, int]:
        """The column of each vocabulary id, in host memory."""
        return {token: column for column, token in enumerate(self.action_ids.tolist())}

    def columns_of(self, ids: Sequence[int]) -> list[int]:
        """Return the columns of vocabulary ids. Raises: ValueError when an id is not an action."""
        try:
            return [self._column_of[token] for token in ids]
        except KeyError:
            unknown = sorted(set(ids) - set(self._column_of))
            raise ValueError(f"token ids {unknown[:5]} are no actions here") from None

    def admits(self, ids: tuple[int, ...]) -> bool:
        """Whether the environment can produce this question."""
        last = len(self._column_of) - 1  # the stop, which is no token of a question
        columns = (self._column_of.get(token, last) for token in ids)
        return self.min_len <= len(ids) <= self.max_len and all(c != last for c in columns)


def question_constraints(
    tokenizer: Any,
    *,
    vocabulary: Vocabulary,
    min_len: int,
    max_len: int,
    device: torch.device | None = None,
) -> Constraints:
    """Return the constraints on questions over the tokens of a tokenizer.

    ``printable_ascii`` and ``latin`` allow tokens that decode to one line of such characters;
    ``all`` allows every token that is not special. Always excluded are special tokens, line
    breaks, and every token with a question mark except the plain one, which is the stop.

    Raises: UserError when no single token is a question mark, or for lengths that do not fit.
    """
    pieces = _pieces(tokenizer)
    stop = _stop_id(tokenizer, pieces)
    special = set(tokenizer.all_special_ids)
    special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokens = [
        i for i, piece in enumerate(pieces) if i not in special and _is_allowed(piece, vocabulary)
    ]
    return Constraints(torch.tensor([*tokens, stop], device=device), min_len, max_len)


def _pieces(tokenizer: Any) -> list[str]:
    """Return the text of each id, as it reads after a word.

    SentencePiece drops the space of a first token, which leaves nothing of a lone space, and
    WordPiece marks a token that continues a word (##ing) unless there is a word before it.
    """
    before = tokenizer("Hamlet", add_special_tokens=False)["input_ids"]
    start = tokenizer.decode(before)
    texts: list[str] = tokenizer.batch_decode([[*before, i] for i in range(len(tokenizer))])
    # A decoder that cleans up spaces may change the word before.
    return [
        text[len(start) :] if text.startswith(start) else tokenizer.decode([i])
        for i, text in enumerate(texts)
    ]


def _stop_id(tokenizer: Any, pieces: list[str]) -> int:
    """Return the id of the question mark that ends a word, or the first that decodes to one.

    A SentencePiece tokenizer encodes a lone "?" as if a space stood before it, and that token ends
    no question.
    """
    for text in ("Hamlet?", "it?", "1912?", "?"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        # The last id may also be that of the unknown token, or of a word with its mark.
        if ids and pieces[ids[-1]].strip() == "?":
            return int(ids[-1])
    plain = [i for i, piece in enumerate(pieces) if piece.strip() == "?"]
    if not plain:
        raise UserError(
            "this tokenizer has no single token for a question mark; use another sampler model"
        )
    return plain[0]


def _is_allowed(piece: str, vocabulary: Vocabulary) -> bool:
    if not piece or "?" in piece or "\n" in piece or "\r" in piece:
        return False
    return is_in_alphabet(piece, vocabulary)
