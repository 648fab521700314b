"""A model that is served, for example by vLLM, llama.cpp or OpenAI, answers questions.

Its source is ``openai:http://HOST:PORT/v1#MODEL``. Everything is asked at ``/v1/completions``,
where the prompt is the same text as for a local model; the style ``chat``, and everything else
where there is no such endpoint, at ``/v1/chat/completions``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from contraflow.errors import UserError
from contraflow.reward.oracle.served.client import Endpoint, Request, ServedClient
from contraflow.reward.oracle.served.errors import ServedError, api_key, without_log_p
from contraflow.reward.oracle.served.forced import read_forced
from contraflow.reward.oracle.served.model import ServedModel, find_model
from contraflow.reward.oracle.served.probe import Abilities, gives_log_p, probe
from contraflow.reward.oracle.served.prompts import StyleRequests, request_body
from contraflow.reward.oracle.served.reply import Reply
from contraflow.reward.oracle.served.source import ServedSource, is_served, parse_served
from contraflow.reward.oracle.served.usage import Usage
from contraflow.reward.oracle.styles import answer_text, ends_at_line_break
from contraflow.settings.served import ServedConfig
from contraflow.system.progress import print_plain
from contraflow.types import Answer, AskStyle, Forced

__all__ = ["ServedAnswerer", "ServedOracle", "check_served", "is_served", "open_served"]

T = TypeVar("T")

# With these a server says that it has no such endpoint, or not for this model.
_NOT_HERE = (400, 404, 405, 422, 501)


def check_served(
    source: str, settings: ServedConfig | None = None, *, needs_log_p: bool = False
) -> ServedModel:
    """Check address, package, key and model by two small requests, before anything is loaded.

    Args:
        needs_log_p: whether answers will be scored, so that log P of each is needed.
    Raises: UserError, in one line with the remedy.
    """
    client = ServedClient(parse_served(source), _hasty(settings or ServedConfig()))
    try:
        model = find_model(client)
        ask = gives_log_p if needs_log_p else _answers
        if not _with_either_endpoint(lambda endpoint: ask(client, endpoint, model.name)):
            raise without_log_p(source)
        return model
    finally:
        client.close()


def open_served(
    source: str,
    *,
    settings: ServedConfig,
    few_shot: str,
    max_answer_tokens: int,
    name: str | None = None,
) -> ServedAnswerer:
    """Open a served model and find out what its server does; some five small requests.

    Args:
        few_shot: the text of `prompt.answer`.
        name: for people; the model's name without one.
    Raises: UserError where the address is malformed, nobody answers, the key is refused, or the
        server does not have the model.
    """
    address = parse_served(source)
    client = ServedClient(address, settings)
    try:
        model = find_model(client)
        abilities = _with_either_endpoint(lambda endpoint: probe(client, endpoint, model.name))
    except BaseException:
        client.close()
        raise
    _print_notes(address, abilities)
    return ServedAnswerer(client, model, abilities, few_shot, max_answer_tokens, name)


class ServedAnswerer:
    """A served model, to be asked in every style. It holds no model, only connections.

    usage: requests, tokens and time so far.
    """

    def __init__(
        self,
        client: ServedClient,
        model: ServedModel,
        abilities: Abilities,
        few_shot: str,
        max_answer_tokens: int,
        name: str | None = None,
    ) -> None:
        self.name = name or (f"{model.name}@{model.tag}" if model.tag else model.name)
        self.identity = model.identity(abilities.served_as)
        self.source = client.source
        self._client = client
        self._model = model
        self._abilities: dict[Endpoint, Abilities] = {abilities.endpoint: abilities}
        self._default: Endpoint = abilities.endpoint
        self._few_shot = few_shot
        self._max_answer_tokens = max_answer_tokens
        self._oracles: dict[AskStyle, ServedOracle] = {}
        self._forced: dict[tuple[str, str], Forced] = {}

    def __repr__(self) -> str:
        return f"ServedAnswerer({self.source})"

    @property
    def usage(self) -> Usage:
        """What was used since the model was opened, its probes included."""
        return self._client.usage

    @property
    def notes(self) -> tuple[str, ...]:
        """What the server was found not to do, one line each."""
        return tuple(note for each in self._abilities.values() for note in each.notes)

    def oracle(self, style: AskStyle) -> ServedOracle:
        """The model asked in one style; the same object each time.

        Raises: UserError for ``chat`` where the server has no chat endpoint.
        """
        if style not in self._oracles:
            endpoint: Endpoint = "chat" if style == "chat" else self._default
            abilities = self._at(endpoint)
            requests = StyleRequests(
                style, endpoint, self._few_shot, self._max_answer_tokens, abilities.fields
            )
            self._oracles[style] = ServedOracle(
                self._client, requests, f"{self.identity}|{requests.identity}", abilities.log_p
            )
        return self._oracles[style]

    def forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[Forced] | None:
        """Read targets behind prompts; None where the server does not read texts back (`echo`).

        Raises: UserError where the server stops to answer; ValueError for unequal numbers.
        """
        abilities = self._abilities.get("completions")
        if abilities is None or not abilities.echo:
            return None
        pairs = list(zip(prompts, targets, strict=True))
        new = [pair for pair in pairs if pair not in self._forced]
        found = read_forced(self._client, abilities.fields, new)
        if found is None:
            return None
        self._forced.update(found)
        return [self._forced[pair] for pair in pairs]

    def close(self) -> None:
        """Close the connections; the usage stays readable."""
        self._client.close()

    def _at(self, endpoint: Endpoint) -> Abilities:
        if endpoint not in self._abilities:
            try:
                self._abilities[endpoint] = probe(self._client, endpoint, self._model.name)
            except ServedError as error:
                if error.status not in _NOT_HERE:
                    raise
                raise UserError(
                    f"ask=chat: {self.source} does not chat ({error}); ask=few_shot or ask=bare "
                    "need no chat"
                ) from None
            _print_notes(self.source, self._abilities[endpoint], key=False)
        return self._abilities[endpoint]


class ServedOracle:
    """Greedy answers of a served model, asked in one style; equal questions are asked once.

    has_log_p: whether the server gives log-probabilities; without them, log_p of answers is NaN.
    """

    def __init__(
        self,
        client: ServedClient,
        requests: StyleRequests,
        identity: str,
        has_log_p: bool,
        cache_size: int = 50_000,
    ) -> None:
        self.identity = identity
        self.cache_size = cache_size
        self._client = client
        self._requests = requests
        self.has_log_p = has_log_p
        self._cache: dict[str, Answer] = {}

    def __repr__(self) -> str:
        return f"ServedOracle({self._client.source}, {self._requests.style})"

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; log_p is NaN where the server gives none.

        Raises: UserError where the server stops to answer or a limit is reached. What was answered
            before is in `answered`, and is not asked for again.
        """
        self.answer_each(questions, lambda _question, _answer: None)
        answers = [self._cache[question] for question in questions]
        for question in list(self._cache)[: max(0, len(self._cache) - self.cache_size)]:
            del self._cache[question]
        return answers

    def answer_each(
        self, questions: Sequence[str], on_answer: Callable[[str, Answer], None]
    ) -> None:
        """Ask, and call `on_answer` with each different question as soon as it is answered.

        The calls come from the thread of the connections. Raises: as `answer`.
        """
        new = []
        for question in dict.fromkeys(questions):
            if question in self._cache:
                on_answer(question, self._cache[question])
            else:
                new.append(question)

        def keep(index: int, reply: Reply) -> None:
            self._cache[new[index]] = self._answer_of(reply)
            on_answer(new[index], self._cache[new[index]])

        self._client.send([self._requests.request(question) for question in new], keep)

    def answered(self, questions: Sequence[str]) -> dict[str, Answer]:
        """The answers that are there already, without a request."""
        return {q: self._cache[q] for q in questions if q in self._cache}

    def _answer_of(self, reply: Reply) -> Answer:
        style = self._requests.style
        log_p = _log_p(reply, ends_at_line_break(style)) if self.has_log_p else math.nan
        return Answer(answer_text(style, reply.text), log_p)


def _log_p(reply: Reply, first_line: bool) -> float:
    """The sum of the token log-probabilities up to the token that ends the answer, inclusive."""
    if not reply.tokens:
        return math.nan
    total = 0.0
    for token, value in zip(reply.tokens, reply.token_log_p, strict=True):
        total += value
        if first_line and "\n" in token:
            break
    return total


def _with_either_endpoint(ask: Callable[[Endpoint], T]) -> T:
    """Ask completions, or the chat where there is none.

    Raises: the error that says more: of a refused request rather than of an unknown path.
    """
    try:
        return ask("completions")
    except ServedError as error:
        if error.status not in _NOT_HERE:
            raise
        first = error
    try:
        return ask("chat")
    except ServedError as error:
        unknown_path = error.status in _NOT_HERE and first.status in (400, 422)
        raise (first if unknown_path else error) from None


def _answers(client: ServedClient, endpoint: Endpoint, model: str) -> bool:
    """Ask for one token; what it says is of no interest. Raises: ServedError without a reply."""
    content = "Hello" if endpoint == "completions" else [{"role": "user", "content": "Hello"}]
    body = request_body(
        endpoint, content, 1, None, {"model": model, "logprobs": None, "top_logprobs": None}
    )
    client.send([Request(endpoint, body, "Hello")])
    return True


def _hasty(settings: ServedConfig) -> ServedConfig:
    return ServedConfig(
        timeout_s=min(30.0, settings.timeout_s), patience_s=min(5.0, settings.patience_s)
    )


def _print_notes(source: ServedSource, abilities: Abilities, key: bool = True) -> None:
    if abilities.endpoint == "chat" and key:
        print_plain(f"{source}: has only a chat; examples are sent as its turns")
    for note in abilities.notes:
        print_plain(f"{source}: {note}")
    if key and api_key() and not source.is_private:
        print_plain(f"{source}: the key goes there unencrypted; https:// would hide it")
