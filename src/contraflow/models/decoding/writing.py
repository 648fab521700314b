"""Write texts token by token: in an eager loop, or by recorded steps that choose the tokens.

Both loops give the same texts for the same random numbers. The eager one drops finished texts at
every token, so the host reads which they are. With recorded steps it asks every few tokens
whether all have ended: waiting at each token would cost more than a few tokens too many. The next
step is queued before the host waits for the reply, so that a GPU is not idle meanwhile.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from contraflow.models.capture import CaptureFailed, first_line
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.decoder import Decoder, EagerDecoder
from contraflow.models.decoding.static_decoding import StaticSteps
from contraflow.models.decoding.static_step import DecodingState, Size, StaticStep, Writing
from contraflow.models.decoding.texts import Now, Request, Texts, Written
from contraflow.models.prefilled import Prefilled
from contraflow.models.transfer import HostCopy, to_device

ASK_EVERY = 4  # tokens between two questions whether all texts have ended


def write(
    lm: CausalLM,
    context: Prefilled,
    row: Int[Tensor, " n"],
    request: Request,
    steps: StaticSteps,
    actions: Int[Tensor, " a"] | None = None,
) -> Written:
    """Write n texts that continue the given rows of a context, as `lm.decoding` requires.

    Rows may repeat. Where a GPU refuses to record a step or has no memory for one, all texts are
    written eagerly, from the same random numbers, and the reason is printed once.
    """
    if lm.decodes_statically and not steps.capture_failed:
        try:
            return _StaticWriter(lm, context, request, steps, actions).write(row)
        except (CaptureFailed, torch.OutOfMemoryError) as error:
            reason = first_line(error)
        # Outside of the handler, as its traceback would keep what is to be freed.
        steps.give_up(reason)
    decoder = EagerDecoder(lm, context, request.n_tokens, actions)
    return write_eagerly(decoder, row, request)


def write_eagerly(decoder: Decoder, row: Int[Tensor, " n"], request: Request) -> Written:
    """Write texts from a decoder's rows; those that have ended leave at once."""
    n_tokens = request.n_tokens
    device = row.device
    written = Written.nothing(request.n_texts, n_tokens, device)
    steps = torch.arange(n_tokens, device=device)
    alive = torch.arange(request.n_texts, device=device)  # the unfinished texts
    for t in range(n_tokens):
        now = Now(steps[t : t + 1], request.noise[t, alive], request.temperature)
        chosen = request.chooser(decoder.logits(), row, now)
        written.log_p[alive] += chosen.log_p
        going = ~chosen.ends
        alive = alive[going]
        if len(alive) == 0:
            break
        token = chosen.token[going]
        written.ids[alive, t] = token
        written.lengths[alive] = t + 1
        if t + 1 < n_tokens:
            row = decoder.advance(row[going], token)
    return written


class _StaticWriter:
    """Writes texts by steps of fixed shape; a text keeps its row until most have ended."""

    def __init__(
        self,
        lm: CausalLM,
        context: Prefilled,
        request: Request,
        steps: StaticSteps,
        actions: Int[Tensor, " a"] | None,
    ) -> None:
        self._lm = lm
        self._context = context
        self._request = request
        self._steps = steps
        self._actions = actions
        self._writing = Writing(request.chooser, request.n_tokens)
        self._written: Written | None = None  # of all texts, once some have moved
        self._texts = list(range(request.n_texts))  # the number of the text in each row
        self._may_move = True

    def write(self, row: Int[Tensor, " n"]) -> Written:
        """Write texts that continue the given rows of the context."""
        request = self._request
        width = self._context.mask.shape[1]
        size = Size.of(request.n_texts, width, request.n_tokens)
        # Creating a step runs it, so everything is created before anything is written.
        step = self._step_of(size)
        self._steps.refresh()
        first = self._lm.logits(self._context.last_hidden, self._actions)
        self._start(step, DecodingState.after_prefill(self._context, row), first, row)
        asked: HostCopy | None = None
        for t in range(1, request.n_tokens):
            if asked is not None:
                going = self._going(asked)
                if not going:
                    break
                step = self._move(step, going, width + t - 1)
                asked = None
            if t % ASK_EVERY == 0 and t >= request.least:
                asked = HostCopy(step.texts.going[: len(self._texts)])
            step.run()
        if self._written is None:
            return Written(*(x[: request.n_texts].clone() for x in step.texts.written.tensors))
        self._keep(step, self._written)
        return self._written

    def _start(
        self,
        step: StaticStep,
        state: DecodingState,
        first: Float[Tensor, "r a"],
        row: Int[Tensor, " n"],
    ) -> None:
        """Load the prompts, and choose the first token of every text by the prompts' logits."""
        step.load(state)
        step.texts.begin_(self._request)
        # Rows without a text choose, too, as in every step, and nothing is written there.
        spare = len(step.ids) - len(row)
        chosen = self._request.chooser(first, functional.pad(row, (0, spare)), step.texts.now)
        step.texts.add_(chosen)
        step.ids.copy_(chosen.token[:, None])

    def _step_of(self, size: Size) -> StaticStep:
        context = self._context
        return self._steps.get(
            self._lm,
            context.prefix,
            context.cache,
            size.rows,
            size.length,
            self._actions,
            self._writing,
        )

    def _going(self, asked: HostCopy) -> list[int]:
        """The rows of the texts that were unfinished when asked. Waits for the GPU."""
        flags = asked.wait().tolist()
        return [row for row, going in enumerate(flags) if going]

    def _move(self, step: StaticStep, going: list[int], width: int) -> StaticStep:
        """Continue the unfinished texts in a smaller step, if there is one for so few.

        `width` is the number of positions that have been read.
        """
        size = step.size.holding(len(going))
        if size == step.size or not self._may_move:
            return step
        if self._written is None:
            self._written = Written.nothing(
                self._request.n_texts, self._request.n_tokens, self._lm.device
            )
        self._keep(step, self._written)
        row = _on_device(going, self._lm.device)
        state = step.save(row, width)
        ids = step.ids[row]
        # What recording the smaller step runs would change the texts, where they share memory.
        texts = Texts(len(going), self._request.n_tokens, self._lm.device)
        texts.take_(step.texts, row)
        try:
            smaller = self._step_of(size)
        except CaptureFailed:  # an attempt to record it may have overwritten the keys
            smaller = step
            self._may_move = False
        smaller.load(state)
        smaller.texts.take_(texts, torch.arange(len(going), device=row.device))
        smaller.ids[: len(going)] = ids
        self._texts = [self._texts[i] for i in going]
        return smaller

    def _keep(self, step: StaticStep, written: Written) -> None:
        """Copy what the texts of a step are so far."""
        n = len(self._texts)
        number = _on_device(self._texts, self._lm.device)
        for mine, theirs in zip(written.tensors, step.texts.written.tensors, strict=True):
            mine.index_copy_(0, number, theirs[:n])


def _on_device(numbers: list[int], device: torch.device) -> Int[Tensor, " n"]:
    """Send numbers to a device without waiting for it."""
    return to_device(torch.tensor(numbers, dtype=torch.long), device)
