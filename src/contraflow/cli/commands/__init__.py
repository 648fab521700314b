"""One module per command; each imports what it needs when it runs."""

from contraflow.cli.command import Command
from contraflow.cli.commands import (
    audit,
    config,
    data,
    evaluate,
    exact,
    export,
    generate,
    judge,
    models,
    replay,
    report,
    sweep,
    train,
)

COMMANDS: tuple[Command, ...] = (
    train.COMMAND,
    generate.COMMAND,
    evaluate.COMMAND,
    report.COMMAND,
    export.COMMAND,
    audit.CHECK,
    audit.COMMAND,
    judge.COMMAND,
    exact.COMMAND,
    sweep.COMMAND,
    *data.COMMANDS,
    *replay.COMMANDS,
    *models.COMMANDS,
    config.COMMAND,
)
