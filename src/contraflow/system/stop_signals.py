"""The signals that ask a run to stop: Ctrl-C, a scheduler or `kill`, a terminal that is closed."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT and SIGTERM, and SIGHUP unless it is ignored, as by nohup."""
    found = (signal.SIGINT, signal.SIGTERM)
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return found if is_ignored else (*found, signal.SIGHUP)


def is_urgent(number: int, *, is_repeated: bool) -> bool:
    """Whether a signal asks to stop at once, without a checkpoint: the second one, by a person.

    A terminal that is closed sends SIGHUP twice: by its shell, and at the end of the session.
    """
    return is_repeated and number != signal.SIGHUP
