"""What the stand-in for a server writes when it serves real models: greedy, token by token."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class RealModels:
    """Models of folders by name; answers completions as an OpenAI-compatible server does."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._lock = threading.Lock()  # one forward pass at a time
        self._models: dict[str, Any] = {
            name: AutoModelForCausalLM.from_pretrained(folder).eval()
            for name, folder in folders.items()
        }
        self._tokenizers: dict[str, Any] = {
            name: AutoTokenizer.from_pretrained(folder) for name, folder in folders.items()
        }

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to the body of a request."""
        tokenizer = self._tokenizers[body["model"]]
        prompt = tokenizer(body["prompt"])["input_ids"]
        with self._lock:
            ids = self._written(body, prompt)
            log_p = self._log_p(body["model"], ids)
        n_hidden = 0 if body.get("echo") else len(prompt)
        text = tokenizer.decode(ids[len(prompt) :])
        stops = [text.index(stop) for stop in body.get("stop") or [] if stop in text]
        shown = tokenizer.decode(ids[n_hidden : len(prompt)]) + text[: min(stops, default=None)]
        logprobs = {
            "tokens": [tokenizer.decode([token]) for token in ids[n_hidden:]],
            "token_logprobs": [
                None if i == 0 else float(log_p[i - 1, ids[i]]) for i in range(n_hidden, len(ids))
            ],
            "top_logprobs": [
                None if i == 0 else {"best": float(log_p[i - 1].max())}
                for i in range(n_hidden, len(ids))
            ],
        }
        return {
            "model": body["model"],
            "choices": [{"index": 0, "text": shown, "logprobs": logprobs}],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(ids) - len(prompt)},
        }

    def _written(self, body: dict[str, Any], prompt: list[int]) -> list[int]:
        """The prompt and the most likely tokens behind it, up to a stop."""
        tokenizer, ids = self._tokenizers[body["model"]], list(prompt)
        for _ in range(body["max_tokens"]):
            ids.append(int(self._log_p(body["model"], ids)[-1].argmax()))
            text = tokenizer.decode(ids[len(prompt) :])
            if any(stop in text for stop in body.get("stop") or []):
                break
        return ids

    @torch.no_grad()
    def _log_p(self, name: str, ids: list[int]) -> torch.Tensor:
        """log P of the next token at every place, shape (t, v)."""
        logits: torch.Tensor = self._models[name](input_ids=torch.tensor([ids])).logits[0]
        return logits.log_softmax(-1)
