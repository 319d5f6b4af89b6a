"""Requests to the exchange: what is sent, what is accepted, and how each failure looks."""

import gzip
import json
import threading
from collections.abc import Callable

import pytest

from common.errors import Unavailable
from ingestor.rest.account import Account
from ingestor.rest.http import RateLimited, RestConnection, retry_after_s
from simulator import signing as theirs
from tests.kit.rest import Answer, RestServer, refused, result
from tests.unit.ingestor.rest.conftest import CREDENTIALS, NOW_MS

GOOD = result({"x": 1}).body


@pytest.fixture
def connection(server: RestServer) -> RestConnection:
    return RestConnection(server.url, Account(CREDENTIALS), lambda: NOW_MS)


def answering(server: RestServer, answer: Answer) -> None:
    server.answer = lambda _: answer


def test_a_public_request_is_not_signed(server: RestServer, connection: RestConnection):
    answering(server, result({"timeNano": "1"}))
    assert connection.public("/v5/market/time", {}) == {"timeNano": "1"}
    [request] = server.received
    assert (request.path, request.query) == ("/v5/market/time", "")
    assert not [name for name in request.headers if name.startswith("X-BAPI")]


def test_the_extra_headers_go_with_every_request_beside_the_signature(server: RestServer):
    connection = RestConnection(server.url, Account(CREDENTIALS), lambda: NOW_MS, headers=[("X-Access", "a=b")])
    connection.public("/v5/market/time", {})
    connection.private("/v5/user/query-api", {})
    public, private = (request.headers for request in server.received)
    assert (public["X-Access"], private["X-Access"]) == ("a=b", "a=b")
    assert private["X-BAPI-API-KEY"] == CREDENTIALS.key


@pytest.mark.parametrize("cursor", ["plain", "page%3D12%26", "page%3d12", "a=1&b c", "50%", "\u00e4"])
def test_what_is_signed_is_what_is_sent(server: RestServer, connection: RestConnection, cursor: str):
    connection.private("/v5/order/realtime", {"category": "spot", "cursor": cursor})
    [request] = server.received
    credentials = theirs.Credentials(CREDENTIALS.key, CREDENTIALS.secret)
    assert theirs.request_refusal(request.headers, request.query, credentials, NOW_MS) is None
    assert request.headers["X-BAPI-RECV-WINDOW"] == "10000"


def test_a_private_request_needs_a_key(server: RestServer):
    connection = RestConnection(server.url, Account(None), lambda: NOW_MS)
    with pytest.raises(Unavailable, match="no API key"):
        connection.private("/v5/user/query-api", {})
    assert server.received == []


def test_new_credentials_sign_the_next_request(server: RestServer):
    account = Account(None)
    connection = RestConnection(server.url, account, lambda: NOW_MS)
    account.credentials = CREDENTIALS
    connection.private("/v5/user/query-api", {})
    assert server.received[0].headers["X-BAPI-API-KEY"] == CREDENTIALS.key


def test_a_connection_is_kept_and_each_thread_has_its_own(server: RestServer, connection: RestConnection):
    for _ in range(3):
        connection.public("/", {})
    assert server.connections == 1
    other = threading.Thread(target=connection.public, args=("/", {}))
    other.start()
    other.join(5)
    assert (server.connections, len(server.received)) == (2, 4)


def test_a_connection_that_was_idle_for_long_is_replaced(server: RestServer):
    connection = RestConnection(server.url, Account(None), lambda: NOW_MS, max_idle_s=0.0)
    for _ in range(3):
        connection.public("/", {})
    assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (refused(10003, "API key is invalid."), "retCode 10003: API key is invalid."),
        (Answer(b'{"retCode":"0","result":{}}'), "retCode 0: None"),
        (Answer(b'{"retCode":false,"result":{}}'), "retCode False: None"),
        (Answer(b'{"result":{}}'), "KeyError: 'retCode'"),
        (Answer(b'{"retCode":0}'), "KeyError: 'result'"),
        (Answer(b"[]"), "TypeError: .*"),
        (Answer(b"<html>"), "JSONDecodeError: .*"),
        (Answer(b"[" * 100_000), "RecursionError: .*"),
        (Answer(status=500), "HTTP 500"),
        (Answer(GOOD, status=201), "HTTP 201"),
    ],
)
def test_a_failed_request_is_unavailable(server: RestServer, connection: RestConnection, answer: Answer, text: str):
    answering(server, answer)
    with pytest.raises(Unavailable, match=f"^{text}$") as failure:
        connection.public("/", {})
    assert retry_after_s(failure.value) == 0


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (refused(10006, "Too many visits!", X_Bapi_Limit_Reset_Timestamp=str(NOW_MS + 2500)), 2.5),
        (refused(10006, "Too many visits!", X_Bapi_Limit_Reset_Timestamp=str(NOW_MS - 2500)), 1),
        (refused(10006, "Too many visits!", X_Bapi_Limit_Reset_Timestamp="9" * 15), 600),
        (refused(10006, "Too many visits!", X_Bapi_Limit_Reset_Timestamp="nan"), 1),
        (refused(10006, "Too many visits!"), 1),
        (Answer(status=403), 600),
        (Answer(status=429), 1),
        (Answer(status=429, headers={"Retry-After": "7"}), 7),
        (Answer(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 1),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(
    server: RestServer, connection: RestConnection, answer: Answer, wait_s: float
):
    answering(server, answer)
    with pytest.raises(RateLimited) as limited:
        connection.public("/", {})
    assert retry_after_s(limited.value) == wait_s
    assert str(limited.value).endswith(f"; retry in {wait_s:g} s")


def test_the_signed_text_that_a_refusal_repeats_is_left_out(server: RestServer, connection: RestConnection):
    answering(server, refused(10004, f"error sign! origin_string[1700{CREDENTIALS.key}10000limit=5]"))
    with pytest.raises(Unavailable, match=r"^retCode 10004: error sign!$"):
        connection.private("/", {"limit": 5})


def test_a_refusal_is_shortened_and_fit_to_be_stored(server: RestServer, connection: RestConnection):
    answering(server, refused(10001, "no \x00" + "x" * 1000))
    with pytest.raises(Unavailable, match="no \ufffd") as failure:
        connection.public("/", {})
    assert len(str(failure.value)) == 500


def test_a_redirect_is_not_followed(server: RestServer, connection: RestConnection):
    answering(server, Answer(status=302, headers={"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(Unavailable, match="HTTP 302"):
        connection.private("/", {})
    assert [request.path for request in server.received] == ["/"]


def test_cookies_are_not_sent_back(server: RestServer, connection: RestConnection):
    answering(server, Answer(GOOD, headers={"Set-Cookie": "a=b"}))
    connection.public("/", {})
    connection.public("/", {})
    assert "Cookie" not in server.received[1].headers


def test_proxies_of_the_environment_do_not_count(
    server: RestServer, connection: RestConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert connection.public("/", {}) == {}


def test_a_compressed_answer_is_read(server: RestServer, connection: RestConnection):
    answering(server, Answer(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"}))
    assert connection.public("/", {}) == {"x": 1}


def test_an_answer_in_chunks_is_read_and_the_connection_is_kept(server: RestServer, connection: RestConnection):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (GOOD[:7], GOOD[7:]))
    answering(server, Answer(chunks + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}))
    assert [connection.public("/", {}), connection.public("/", {})] == [{"x": 1}] * 2
    assert server.connections == 1


def test_an_answer_that_ends_early_is_unavailable(server: RestServer, connection: RestConnection):
    headers = {"Content-Length": str(len(GOOD) + 1), "Connection": "close"}
    answering(server, Answer(GOOD, headers=headers))
    with pytest.raises(Unavailable, match="IncompleteRead"):
        connection.public("/", {})


def test_a_head_that_drips_ends_at_the_deadline(server: RestServer, connection: RestConnection):
    answering(server, Answer(GOOD, header_every_s=0.02))
    with pytest.raises(Unavailable, match="ReadTimeout"):
        connection.public("/", {}, within_s=0.1)
    assert len(server.received) == 1


def test_an_answer_that_drips_ends_at_the_deadline(server: RestServer, connection: RestConnection):
    answering(server, Answer(GOOD + b" " * 10_000, byte_every_s=0.01))
    with pytest.raises(Unavailable, match="did not arrive in time"):
        connection.public("/", {}, within_s=0.1)


def test_after_a_failure_the_next_request_succeeds(server: RestServer, connection: RestConnection):
    answering(server, Answer(GOOD + b" " * 10_000, byte_every_s=0.01))
    with pytest.raises(Unavailable):
        connection.public("/", {}, within_s=0.1)
    answering(server, Answer(GOOD))
    assert connection.public("/", {}) == {"x": 1}


def test_an_answer_that_does_not_come_is_unavailable(server: RestServer, connection: RestConnection):
    answered = threading.Event()

    def wait(_: object) -> Answer:
        answered.wait(5)
        return Answer(GOOD)

    server.answer = wait
    with pytest.raises(Unavailable, match="Timeout"):
        connection.public("/", {}, within_s=0.05)
    answered.set()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_answer_that_is_too_large_is_refused(server: RestServer, compress: Callable[[bytes], bytes]):
    connection = RestConnection(server.url, Account(None), lambda: NOW_MS, max_answer_bytes=1000)
    body = json.dumps({"retCode": 0, "result": "x" * 1000}).encode()
    encoding = {"Content-Encoding": "gzip"} if compress is gzip.compress else {}
    answering(server, Answer(compress(body), headers=encoding))
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        connection.public("/", {})


def test_nothing_listening_is_unavailable():
    connection = RestConnection("http://127.0.0.1:1", Account(None), lambda: NOW_MS)
    with pytest.raises(Unavailable, match="ConnectionError"):
        connection.public("/", {})
