"""The one exception a user is meant to read, and the exit codes of a run that stopped where it can
go on.
"""

INTERRUPTED = 130  # by Ctrl-C or SIGTERM
OUT_OF_TIME = 75  # EX_TEMPFAIL of sysexits.h: try again; a scheduler may requeue on it


class UserError(Exception):
    """A mistake the user can mend: the message names the thing and the remedy, and no traceback is
    shown.

    The command line prints it on one line and exits with `exit_code`.
    """

    exit_code = 2
