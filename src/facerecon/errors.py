"""The one exception that users are meant to see."""


class InputError(Exception):
    """A problem that the user can mend.

    The message is one line: it names the file or setting at fault and the remedy. The command line prints it on stderr
    and exits with status 2; library callers may catch it.
    """
