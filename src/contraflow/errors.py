"""The exception for errors that a user can correct, and the exit codes of resumable runs."""

# Stopped by Ctrl-C or SIGTERM.
INTERRUPTED = 130
# Stopped by `trainer.max_time`: EX_TEMPFAIL of sysexits.h, on which a scheduler may requeue a job.
OUT_OF_TIME = 75


class UserError(Exception):
    """An error that the user can correct; the message names the cause and the remedy.

    The command line prints the message on one line, without a traceback, and exits with
    `exit_code`.
    """

    exit_code = 2
