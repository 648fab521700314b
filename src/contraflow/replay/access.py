"""What a run needs from a server of the user's: rights, writes, memory that evicts nothing."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from redis.exceptions import RedisError

from contraflow.replay.connection import Server, denied_by, not_permitted, storage_full
from contraflow.replay.lua import ADMIT

# EVALSHA identifies the script by this hash.
ADMIT_SHA = hashlib.sha1(ADMIT.encode(), usedforsecurity=False).hexdigest()


def try_commands(server: Server, index: str, ranked: str, payloads: str) -> None:
    """Try every command of a run on three keys that nobody else uses; nothing is left there.

    Full memory or a full disk is no error here: a run goes on with what is stored.

    Raises: UserError where a run would fail, naming each command that the user may not run.
    """
    commands: list[tuple[Any, ...]] = [
        ("SCRIPT LOAD", ADMIT),
        ("SADD", index, "f"),
        ("SMEMBERS", index),
        ("ZADD", ranked, 0, "id"),
        ("ZRANGE", ranked, 0, -1),
        ("ZCARD", ranked),
        ("HSET", payloads, "id", "-"),
        ("HGETALL", payloads),
        # Without a question the script reads both keys and admits nothing.
        ("EVALSHA", ADMIT_SHA, 2, ranked, payloads, 1, "0", "tokens", ""),
        ("ZREM", ranked, "id"),
        ("HDEL", payloads, "id"),
        ("SREM", index, "f"),
        ("DEL", ranked, payloads),
        # Last: a user who may begin a transaction and not end it can run nothing after this. Its
        # keys have two hash tags, which a cluster refuses.
        ("MULTI",),
        ("ZCARD", index),
        ("ZCARD", ranked),
        ("EXEC",),
    ]

    def send() -> list[Any]:
        with server.client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute(raise_on_error=False)

    replies = server.call(send)
    errors = [
        (command[0], reply)
        for command, reply in zip(commands, replies, strict=True)
        if isinstance(reply, RedisError) and storage_full(reply) is None
    ]
    denied: list[str] = []
    for command, error in errors:
        reason = denied_by(error)
        if reason is not None:
            denied.append(reason or command)
        elif str(error).startswith("unknown command"):
            raise server.refusal(
                f"has no command {command}: use a Redis or Valkey server that has it, "
                "or replay=embedded or replay=memory"
            )
    if denied:
        raise server.refusal(not_permitted(list(dict.fromkeys(denied))))
    if errors:
        first = errors[0][1]

        def fail() -> NoReturn:
            raise first

        server.call(fail)


def eviction(server: Server) -> str | None:
    """A message if the server may evict entries, or if that cannot be found out; otherwise None.

    Entries have no expiry, so the policies ``volatile-…`` evict none of them.
    """
    try:
        memory = server.client.info("memory")
    except RedisError:
        return (
            f"{server.name} does not show its maxmemory-policy (INFO): "
            "a policy other than noeviction can remove stored questions"
        )
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if not memory.get("maxmemory") or not policy.startswith("allkeys"):
        return None
    return (
        f"{server.name} has maxmemory-policy {policy}: when its memory is full it removes stored "
        "questions; set maxmemory-policy to noeviction to keep them"
    )
