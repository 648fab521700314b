"""The one exception a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend: the message names the thing and the remedy, and no traceback is shown.

    The command line prints it on one line and exits with `exit_code`.
    """

    exit_code = 2
