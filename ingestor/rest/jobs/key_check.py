"""Checks the API key: whether it expires soon, and whether its permissions suffice."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import structlog

from common.backoff import Backoff
from ingestor.metrics import KEY_EXPIRES_IN
from ingestor.rest.client import ApiKeyInfo
from ingestor.rest.jobs.scheduler import Job

log = structlog.get_logger(__name__)

CHECK_EVERY_S = 6 * 3600.0
WARN_AHEAD = timedelta(days=7)
_TRADING = ("ContractTrade", "Derivatives", "Spot", "Options")
"""A key with none of these receives no order, execution or position (v5/user/apikey-info)."""


class ApiKeySource(Protocol):
    def key(self) -> ApiKeyInfo: ...


class KeyCheckJob(Job[Literal["check"]]):
    """At the start, every six hours, and when there are new credentials."""

    name = "key check"
    min_retry_s = 1.0

    def __init__(
        self,
        source: ApiKeySource,
        configured: Callable[[], bool],
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(backoff=Backoff(2.0, 600.0))
        self._source = source
        self._configured = configured  # whether there is a key at all
        self._utc_now = utc_now

    def request(self) -> None:
        """Check soon. Requests that wait are one."""
        self.requests.put("check")

    def run_due(self, now: float) -> None:
        if self._configured():
            self._check()
        self.due_at = now + CHECK_EVERY_S

    def _check(self) -> None:
        key = self._source.key()
        expires_at = key.expires_at
        KEY_EXPIRES_IN.set_function(lambda: seconds_left(expires_at, self._utc_now()))
        shown = expires_at and expires_at.isoformat()
        for complaint in complaints(key, self._utc_now()):
            log.warning("API key needs attention", complaint=complaint, expires_at=shown)
        log.info("API key checked", expires_at=shown)


def complaints(key: ApiKeyInfo, now: datetime) -> list[str]:
    """What an operator should know of the key, as sentences."""
    found: list[str] = []
    if key.expires_at is not None and key.expires_at - now <= WARN_AHEAD:
        left = key.expires_at - now
        found.append(f"it expires in {left.days} days" if left > timedelta(0) else "it has expired")
    if not any(_granted(key.permissions, group) for group in _TRADING):
        found.append(f"it receives no orders, executions and positions: none of {', '.join(_TRADING)} is granted")
    return found


def seconds_left(expires_at: datetime | None, now: datetime) -> float:
    return float("inf") if expires_at is None else (expires_at - now).total_seconds()


def _granted(permissions: Mapping[str, list[str]], group: str) -> bool:
    return bool(permissions.get(group))
