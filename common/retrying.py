"""Retrying what failed because a dependency is unavailable."""

import threading
from collections.abc import Callable

import structlog

from common.backoff import Backoff
from common.errors import Unavailable

log = structlog.get_logger(__name__)


def keep_trying(
    attempt: Callable[[Backoff], None], stop: threading.Event, dependency: str, backoff: Backoff | None = None
) -> None:
    """Run `attempt` until it returns or `stop` is set; log once when the dependency becomes unavailable.

    `attempt` calls `backoff.reset()` on proof of life: a reply, a confirm, a commit.
    """
    backoff = backoff or Backoff()
    logged = False

    while not stop.is_set():
        proven_before = backoff.failures == 0
        try:
            attempt(backoff)
            return
        except Unavailable as error:
            if not logged or proven_before or backoff.failures == 0:
                log.warning("dependency unavailable", dependency=dependency, error=str(error))
                logged = True
            stop.wait(backoff.next_s())
