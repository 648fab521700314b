"""The exception for errors that a user can correct, and the exit codes of resumable runs."""

# Stopped by Ctrl-C or SIGTERM.
INTERRUPTED = 130
# Stopped by `trainer.max_time`: EX_TEMPFAIL of sysexits.h, on which a scheduler may requeue a job.
OUT_OF_TIME = 75


def on_one_line(message: object) -> str:
    r"""Return a message that quotes input, with line breaks as \n.

    The command line prints the first line only, and without the rest a remedy would be lost.
    """
    text = r"\n".join(str(message).splitlines())
    # A lone surrogate, which JSON can hold, has no UTF-8: no file and not every terminal takes it.
    return text.encode(errors="backslashreplace").decode()


class UserError(Exception):
    """An error that the user can correct; the message names the cause and the remedy.

    The command line prints the message on one line, without a traceback, and exits with
    `exit_code`.
    """

    exit_code = 2
