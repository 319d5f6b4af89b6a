"""Retrying what failed because a dependency is unavailable."""

import threading
from collections.abc import Callable

import structlog

from common.backoff import Backoff
from common.errors import Unavailable

log = structlog.get_logger(__name__)


def keep_trying(
    attempt: Callable[[Backoff], None], stop: threading.Event, neighbour: str, backoff: Backoff | None = None
) -> None:
    """Run `attempt` until it returns or `stop` is set, and tell once when the neighbour goes away.

    `attempt` calls `backoff.reset()` on proof of life: a reply, a confirm, a commit.
    """
    backoff = backoff or Backoff()
    told = False

    while not stop.is_set():
        alive_before = backoff.failures == 0
        try:
            attempt(backoff)
            return
        except Unavailable as error:
            if not told or alive_before or backoff.failures == 0:
                log.warning("neighbour is away", neighbour=neighbour, error=str(error))
                told = True
            stop.wait(backoff.next_s())
