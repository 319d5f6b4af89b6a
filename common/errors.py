"""What can go wrong, named by what is to be done about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.foreign import plain

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading foreign JSON raises when it has another shape than expected."""


class ConfigError(Exception):
    """A person must act: leave at once, naming the variable."""


class Unavailable(Exception):
    """A neighbour is away: wait, and try again."""


class ProtocolViolation(Exception):
    """The peer broke the rules: leave this conversation, open another."""


class BadMessage(Exception):
    """One message makes no sense: set it aside, count it, go on."""


@contextmanager
def reported_as(ours: type[Exception], *theirs: type[BaseException]) -> Iterator[None]:
    """Turn a library's errors into one of ours, keeping its words as far as they are fit to be stored."""
    try:
        yield
    except theirs as error:
        raise ours(plain(f"{type(error).__name__}: {error}".rstrip(": "))) from error
