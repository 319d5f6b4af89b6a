"""Malformed and hostile HTTP, against the api as it is deployed."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.contract.api.conftest import PATH, TRADES
from tests.contract.api.serving import KEY, Served, served
from tests.kit.servers import Database, Postgres, fresh_database
from tests.kit.waiting import eventually

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()
BODY = json.dumps(TRADES).encode()


@pytest.fixture(scope="module")
def api(postgres: Postgres, migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        fresh_database(postgres, migrated) as database,
        served(database, tmp_path_factory.mktemp("api")) as found,
    ):
        yield found


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def answered(raw: bytes) -> tuple[int, str]:
    """Status and code of the first answer; it must be a problem."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, raw[:500]
    return int(head.split()[1]), json.loads(body)["code"]


def test_a_chunked_body_is_as_good_as_any(api: Served):
    raw = api.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY[:10], BODY[10:]))
    assert raw.split()[1] in (b"200", b"201"), raw


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"Content-Length: 65537\r\n\r\n" + b" " * 65537, (413, "body_too_large")),
        (b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b" " * 8192] * 9), (413, "body_too_large")),
        (b"Content-Length: 99999999999999999999\r\n\r\n", (413, "body_too_large")),
        (b"Content-Length: 200\r\n\r\n" + BODY, (400, "malformed_body")),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400, "malformed_body")),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}", (400, "malformed_body")),
        (b"Transfer-Encoding: gzip, nonsense\r\n\r\n", (400, "malformed_request")),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"{}"), (400, "malformed_request")),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400, "malformed_request")),
        (b"Content-Length: -1\r\n\r\n{}", (400, "malformed_request")),
        (b"Content-Length: 0x2\r\n\r\n{}", (400, "malformed_request")),
        (b"Content-Length: 0\r\n\r\n", (400, "malformed_json")),
        (b"\r\n", (400, "malformed_json")),
        (b"X-Long: " + b"x" * 9000 + b"\r\n\r\n", (431, "malformed_request")),
        (b"".join(b"X-%d: y\r\n" % number for number in range(100)) + b"\r\n", (431, "malformed_request")),
        (b"No colon\r\n\r\n", (400, "malformed_request")),
        (b"X-Bad: a\0b\r\n\r\n", (400, "malformed_request")),
    ],
)
def test_a_body_that_is_none_is_refused(api: Served, sent: bytes, expected: tuple[int, str]):
    assert answered(api.say(HEAD + sent)) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"GET\r\n\r\n", (400, "malformed_request")),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (400, "malformed_request")),
        (b"GET / HTTP/9.9\r\n\r\n", (400, "malformed_request")),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414, "malformed_request")),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", (400, "malformed_request")),
        (b"GET /%00%ff/%0a HTTP/1.1\r\nHost: x\r\n\r\n", (404, "no_such_path")),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", (404, "no_such_path")),
        (b"GET /docs/..%2f..%2fapi HTTP/1.1\r\nHost: x\r\n\r\n", (404, "no_such_path")),
        (b"TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n", (405, "method_not_allowed")),
        (b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", (405, "method_not_allowed")),
        (b"OPTIONS /api/v1/keys HTTP/1.1\r\nHost: x\r\n\r\n", (405, "method_not_allowed")),
        (b"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\n\r\n", (401, "unknown_key")),
    ],
)
def test_what_is_no_request_of_ours_is_refused(api: Served, raw: bytes, expected: tuple[int, str]):
    assert answered(api.say(raw)) == expected


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "", "application/ld+json"],
)
def test_another_content_type_is_refused(api: Served, content_type: str):
    answer = api.ask("POST", PATH, TRADES, {"Content-Type": content_type})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


def test_the_content_type_may_name_utf_8(api: Served):
    answer = api.ask("POST", PATH, TRADES, {"Content-Type": 'Application/JSON; charset="UTF-8"'})
    assert answer.status in (200, 201)


def test_a_wrong_method_names_the_right_ones(api: Served):
    answer = api.ask("PATCH", PATH, {})
    assert answer.status == 405
    assert sorted(answer.headers["Allow"].split(", ")) == ["GET", "HEAD", "POST"]


def test_two_requests_in_one_packet_are_two_requests(api: Served):
    raw = api.say(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert raw.count(b"HTTP/1.1 200 OK") == 2


def test_a_forged_origin_changes_nothing(api: Served):
    forged = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "Forwarded": "for=9.9.9.9", "X-Real-IP": "9"}
    api.ask("GET", PATH, None, forged | {"X-Request-ID": "forged"})
    [line] = [line for line in api.logged() if line["trace_id"] == "forged"]
    assert line["address"] == "127.0.0.1"
    assert "https" not in api.ask("GET", "/openapi.json", None, forged).text


def test_each_request_is_logged_in_one_line_without_secrets(api: Served):
    query = "?requesting_service=model&limit=7"
    api.ask("GET", PATH + query, None, {"X-Request-ID": "logged"})
    [line] = [line for line in api.logged() if line["trace_id"] == "logged"]
    assert {"method": "GET", "path": PATH, "status": 200, "key": "administrator"}.items() <= line.items()
    assert line["duration_ms"] > 0
    assert KEY not in api.log.read_text()


def test_half_sent_requests_do_not_delay_others(api: Served):
    crowd = [api.connect() for _ in range(200)]
    try:
        for number, line in enumerate(crowd):
            line.sendall([HEAD, HEAD + b"Content-Length: 10\r\n\r\n{", b"G", b""][number % 4])
        for _ in range(10):
            assert api.ask("GET", "/health/live", within_s=2).status == 200
        assert answered(crowd[0].recv(65536)) == (408, "malformed_request")
    finally:
        for line in crowd:
            line.close()


def test_a_request_that_comes_in_pieces_is_answered_when_it_is_whole(api: Served):
    with api.connect() as line:
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        for _ in range(2):  # the second time on a connection that was used
            for place in range(0, len(request), 100):
                line.sendall(request[place : place + 100])
            answer = HTTPResponse(line)
            answer.begin()
            assert answer.status in (200, 201), answer.read()
            answer.read()


def test_the_metrics_of_the_workers_are_added_up(api: Served):
    def count() -> float:
        line = r'wsgw_api_requests_total\{method="GET",route="/ready",status="200"\} (\S+)'
        found = re.search(line, api.ask("GET", "/metrics").text)
        return float(found.group(1)) if found else 0.0

    before = count()
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda _: api.ask("GET", "/ready?service=unknown"), range(40)))
    # A request is counted after it is answered.
    assert eventually(lambda: count() >= before + 40, 10, "all are counted")
    assert count() == before + 40


def test_the_rate_is_counted_over_all_workers(database: Database, tmp_path: Path):
    with served(database, tmp_path, WS_GATEWAY_REQUESTS_PER_KEY="5") as strict, ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: strict.ask("GET", PATH).status, range(60)))
        seconds = 1 + max(1.0, _lasted_s(strict))
    assert answers.count(429) >= 60 - 5 * (seconds + 1)
    assert 200 in answers


def _lasted_s(strict: Served) -> float:
    times = [line["timestamp"] for line in strict.logged() if line.get("path") == PATH]
    if not times:
        return 0.0
    return (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()


def test_a_restart_loses_no_request(database: Database, tmp_path: Path):
    with served(database, tmp_path) as api, ThreadPoolExecutor(4) as crowd:
        subscriptions = [TRADES | {"symbol": f"S{number}"} for number in range(4)]
        slow = [
            crowd.submit(api.ask, "POST", PATH, subscription, {"Prefer": "wait=2"}) for subscription in subscriptions
        ]
        eventually(lambda: len(_pending(api)) == 4, 10, "all are stored")
        assert api.stop() == 0
        assert [each.result().status for each in slow] == [201] * 4


def test_it_leaves_nothing_in_memory(database: Database, tmp_path: Path):
    with served(database, tmp_path) as api:
        metrics = f"wsgw-api-metrics-{api.process.pid}-*"
        assert list(Path("/dev/shm").glob(metrics))
        api.stop()
        assert not list(Path("/dev/shm").glob(metrics))


def test_it_removes_what_one_that_was_killed_has_left(database: Database, tmp_path: Path):
    with served(database, tmp_path) as killed:
        killed.process.kill()
        killed.process.wait()
    metrics = f"wsgw-api-metrics-{killed.process.pid}-*"
    assert list(Path("/dev/shm").glob(metrics))
    with served(database, tmp_path):
        assert not list(Path("/dev/shm").glob(metrics))


def _pending(api: Served) -> list[object]:
    return list(api.ask("GET", f"{PATH}?status=pending").json["items"])


@pytest.mark.parametrize(("name", "value"), [("WS_GATEWAY_API_KEY", ""), ("WS_GATEWAY_REQUESTS_PER_KEY", "many")])
def test_a_wrong_setting_ends_it_at_once_by_name(database: Database, tmp_path: Path, name: str, value: str):
    with pytest.raises(AssertionError, match=name), served(database, tmp_path, **{name: value}):
        pass
