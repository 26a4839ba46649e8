"""The error of both packages for mistakes of users and of their files."""

from __future__ import annotations


class UserError(ValueError):
    """Something a user gave is wrong: the message says what was found, what was expected and what to do.

    Commands print it without a traceback. Any other exception is a programming error and keeps its own.
    """
