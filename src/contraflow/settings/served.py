"""Settings of served models: how many requests, how fast, how long to wait, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

from contraflow.settings.ranges import check


@dataclass
class ServedConfig:
    # Requests in flight at once.
    concurrency: int = 8
    # Seconds that one request may take.
    timeout_s: float = 120.0
    # Seconds that one question is tried again after failures.
    patience_s: float = 300.0
    # Limit on requests, repeated ones included; null is none.
    max_requests: int | None = None
    # Limit on the tokens of all prompts and answers together; null is none.
    max_tokens_total: int | None = None

    def __post_init__(self) -> None:
        for key in ("concurrency", "max_requests", "max_tokens_total"):
            value = getattr(self, key)
            ok = value is None or value >= 1
            check(ok, f"oracle.served.{key}", value, "at least 1")
        check(self.timeout_s > 0, "oracle.served.timeout_s", self.timeout_s, "above 0")
        check(self.patience_s >= 0, "oracle.served.patience_s", self.patience_s, "0 or more")
