"""GET requests to the exchange's REST API: public and signed, with every wait and size bounded."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from common.errors import MALFORMED, Unavailable, reported_as
from common.foreign import plain
from common.settings import Credentials
from ingestor.rest.account import Account
from ingestor.rest.deadline import DeadlineAdapter
from ingestor.rest.signing import query_text, signed_headers

ANSWER_WITHIN_S = 5.0
_MAX_ANSWER_BYTES = 32 * 2**20  # 1,000 instruments are 2 MB
_CHUNK_BYTES = 2**16
_MAX_IDLE_S = 20.0  # an idle connection may be cut without notice, and would cost a whole timeout to find out
_INVALID_PARAMETERS = 10001  # v5/error
_TOO_MANY_VISITS = 10006  # v5/error, v5/rate-limit
_BANNED_S = 600.0  # after HTTP 403 "stop all requests for at least 10 minutes" (v5/rate-limit)
_DEFAULT_RETRY_S = 1.0
_DIGITS = re.compile(r"\d{1,15}", re.ASCII).fullmatch
_SIGNED_TEXT = re.compile(r"\s*origin_string\[.*", re.DOTALL)  # repeated to us, API key included, as of retCode 10004
_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, *MALFORMED)


class RateLimited(Unavailable):
    """The exchange refuses requests for a while."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(f"{text}; retry in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class InvalidParameters(Unavailable):
    """The exchange does not accept the parameters of a request."""


def retry_after_s(error: Unavailable) -> float:
    """For how many seconds the exchange allows no further request; 0 if it set no time."""
    return error.retry_after_s if isinstance(error, RateLimited) else 0.0


class RestConnection:
    """One kept-alive connection per thread. Every failure is Unavailable and contains neither key nor signature."""

    def __init__(
        self,
        origin: str,
        account: Account,
        now_ms: Callable[[], int],
        max_idle_s: float = _MAX_IDLE_S,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """`headers` are sent with each request, public ones included."""
        self._origin = origin
        self._account = account
        self._now_ms = now_ms  # the exchange's clock: it refuses timestamps over 1 s ahead of its own
        self._max_idle_s = max_idle_s
        self._max_answer_bytes = max_answer_bytes
        self._headers = dict(headers)
        self._threads = threading.local()

    def public(self, path: str, query: Mapping[str, object], within_s: float = ANSWER_WITHIN_S) -> Any:
        """The `result` of the answer."""
        return self._result(path, query, None, within_s)

    def private(self, path: str, query: Mapping[str, object], within_s: float = ANSWER_WITHIN_S) -> Any:
        """The `result` of the answer to a signed request."""
        credentials = self._account.credentials
        if credentials is None:
            raise Unavailable("no API key configured")
        return self._result(path, query, credentials, within_s)

    def _result(self, path: str, query: Mapping[str, object], credentials: Credentials | None, within_s: float) -> Any:
        until = time.monotonic() + within_s
        with reported_as(Unavailable, *_ERRORS):
            session = self._session()
            request = session.prepare_request(requests.Request("GET", self._url(path, query)))
            if credentials is not None:
                sent_query = urlsplit(str(request.url)).query
                request.headers.update(signed_headers(credentials, sent_query, self._now_ms()))
            with session.send(request, timeout=within_s, stream=True, allow_redirects=False) as response:
                if response.status_code != requests.codes.ok:
                    raise _refusal(response)
                return self._checked(json.loads(self._body(response, until)), response.headers)

    def _url(self, path: str, query: Mapping[str, object]) -> str:
        text = query_text(query)
        return f"{self._origin}{path}?{text}" if text else f"{self._origin}{path}"

    def _checked(self, answer: Any, headers: Mapping[str, str]) -> Any:
        code = answer["retCode"]
        if type(code) is int and code == 0:
            return answer["result"]
        text = plain(_SIGNED_TEXT.sub("", f"retCode {code}: {answer.get('retMsg')}"))
        if code == _TOO_MANY_VISITS:
            raise RateLimited(text, _until_reset_s(headers, self._now_ms()))
        if code == _INVALID_PARAMETERS:
            raise InvalidParameters(text)
        raise Unavailable(text)

    def _body(self, response: requests.Response, until: float) -> bytes:
        """Read as it arrives, because the timeout of requests starts again with each byte."""
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._max_answer_bytes:
                raise ValueError(f"an answer of more than {self._max_answer_bytes} bytes")
            if time.monotonic() > until:
                raise TimeoutError("the answer did not arrive in time")
        return bytes(body)

    def _session(self) -> requests.Session:
        """This thread's; without its connection if that was idle for long."""
        now = time.monotonic()
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = _new_session(self._headers)
        elif now - self._threads.used_at > self._max_idle_s:
            session.close()  # it opens another connection when it is used
        self._threads.used_at = now
        return session


def _new_session(headers: Mapping[str, str]) -> requests.Session:
    """Independent of proxies and netrc files in the environment; it follows no redirect and keeps no cookie."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update(headers)
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _refusal(response: requests.Response) -> Unavailable:
    text = f"HTTP {response.status_code}"
    if response.status_code == requests.codes.forbidden:
        return RateLimited(text, _BANNED_S)
    if response.status_code == requests.codes.too_many_requests:
        return RateLimited(text, _within_bounds(_number(response.headers.get("Retry-After")) or 0))
    return Unavailable(text)


def _until_reset_s(headers: Mapping[str, str], now_ms: int) -> float:
    reset_at_ms = _number(headers.get("X-Bapi-Limit-Reset-Timestamp"))
    return _DEFAULT_RETRY_S if reset_at_ms is None else _within_bounds((reset_at_ms - now_ms) / 1000)


def _number(text: str | None) -> int | None:
    return int(text) if text and _DIGITS(text) else None


def _within_bounds(wait_s: float) -> float:
    return min(max(wait_s, _DEFAULT_RETRY_S), _BANNED_S)
