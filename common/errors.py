"""Errors, named by the reaction they require."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.foreign import plain

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Raised by code that reads JSON of an unexpected shape."""


class ConfigError(Exception):
    """A person must act: exit at once, naming the setting."""


class Unavailable(Exception):
    """A dependency is unavailable: retry with backoff."""


class ProtocolViolation(Exception):
    """The peer broke the protocol: close this connection, open another."""


class BadMessage(Exception):
    """One message cannot be parsed: quarantine it, count it, continue."""


@contextmanager
def reported_as(ours: type[Exception], *theirs: type[BaseException]) -> Iterator[None]:
    """Raise the errors `theirs` of a library as `ours`, with their text made storable."""
    try:
        yield
    except theirs as error:
        raise ours(plain(f"{type(error).__name__}: {error}".rstrip(": "))) from error
