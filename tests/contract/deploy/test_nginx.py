"""The api behind deploy/nginx.conf."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.servers import nginx
from tests.conftest import need
from tests.contract.api.conftest import PATH, TRADES
from tests.contract.api.serving import ROOT, Served, served
from tests.contract.api.test_http import BODY, HEAD, answered, chunked
from tests.kit import children
from tests.kit.servers import Database, Postgres, free_port, fresh_database
from tests.kit.waiting import eventually

HOST, CLOSE = b"Host: x\r\n", b"Connection: close\r\n"


@pytest.fixture(scope="module")
def api(postgres: Postgres, migrated: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Reached directly."""
    with (
        fresh_database(postgres, migrated) as database,
        served(database, tmp_path_factory.mktemp("api"), WS_GATEWAY_PROXIES="127.0.0.1") as found,
    ):
        yield found


@pytest.fixture(scope="module")
def front(api: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Reached through nginx."""
    need("nginx")
    with in_front_of(api, tmp_path_factory.mktemp("nginx")) as found:
        eventually(lambda: found.ask("GET", "/health/live").status == 200, 20, "nginx passes on")
        yield found


@contextmanager
def in_front_of(api: Served, folder: Path, changed: Mapping[str, str] | None = None) -> Iterator[Served]:
    """An nginx as it is deployed but for the places, and for what is `changed` in its configuration."""
    port = free_port()
    folder.chmod(0o755)
    places = {"listen 8080;": f"listen 127.0.0.1:{port};", "ws-gateway:4400": f"127.0.0.1:{api.port}"}
    config = configured(folder, places | {"/tmp/nginx": f"{folder}/nginx"} | dict(changed or {}))
    command = [str(nginx.binary()), "-c", str(config), "-e", "stderr", "-g", "daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        process = children.start(command, stdout=log)
    try:
        yield replace(api, port=port)
    finally:
        process.terminate()
        process.wait(20)


def configured(folder: Path, changed: Mapping[str, str]) -> Path:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for deployed, here in changed.items():
        assert deployed in text
        text = text.replace(deployed, here)
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


def response_to(front: Served, raw: bytes) -> bytes:
    """All that comes back; nginx drops a request whose sender closes its half, so we do not."""
    with front.connect(20) as line:
        line.sendall(raw)
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_a_subscription_passes_through(front: Served):
    assert front.ask("POST", PATH, TRADES).status in (200, 201)
    raw = response_to(front, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY))
    assert raw.split()[1] == b"200", raw


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (HEAD + b"Content-Length: 65537\r\n\r\n" + b" " * 65537, (413, "body_too_large")),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b" " * 8192] * 9), (413, "body_too_large")),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400, "malformed_request")),
        (HEAD + b"Content-Length: -1\r\n\r\n{}", (400, "malformed_request")),
        (
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"{}"),
            (400, "malformed_request"),
        ),
        (HEAD + b"Transfer-Encoding: gzip, nonsense\r\n\r\n", (400, "malformed_request")),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
        (HEAD + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n", (431, "malformed_request")),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414, "malformed_request")),
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", (400, "malformed_request")),
        (b"GET /health/live HTTP/1.1\r\n\r\n", (400, "malformed_request")),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (400, "malformed_request")),
        (b"TRACE /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", (405, "method_not_allowed")),
        (b"CONNECT /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", (405, "method_not_allowed")),
        (b"BREW /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", (405, "method_not_allowed")),
        (b"GET /refused/503 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", (404, "no_such_path")),
        (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", (400, "malformed_request")),
        (b"GET /nothing%00 HTTP/1.1\r\n" + HOST + b"\r\n", (400, "malformed_request")),
    ],
)
def test_what_nginx_refuses_looks_like_our_refusals(front: Served, sent: bytes, expected: tuple[int, str]):
    assert answered(response_to(front, sent)) == expected


@pytest.mark.parametrize(
    ("through_nginx", "caller", "forged", "believed"),
    [
        (True, "127.0.0.5", {}, "127.0.0.5"),
        (True, "127.0.0.5", {"X-Forwarded-For": "9.9.9.9"}, "127.0.0.5"),
        (True, "127.0.0.5", {"X-Forwarded-For": "9.9.9.9, 127.0.0.1"}, "127.0.0.5"),
        (True, "127.0.0.5", {"X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9"}, "127.0.0.5"),
        (False, "127.0.0.5", {"X-Forwarded-For": "9.9.9.9"}, "127.0.0.5"),
        (False, "127.0.0.5", {"X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9"}, "127.0.0.5"),
    ],
)
def test_an_address_cannot_be_forged(
    front: Served, api: Served, through_nginx: bool, caller: str, forged: dict[str, str], believed: str
):
    asked, name = (front if through_nginx else api), f"{through_nginx}-{len(forged)}-{len(str(forged))}"
    headers = "".join(f"{field}: {value}\r\n" for field, value in forged.items())
    with socket.create_connection(("127.0.0.1", asked.port), 10, source_address=(caller, 0)) as line:
        request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-Request-ID: {name}\r\nConnection: close\r\n{headers}\r\n"
        line.sendall(request.encode())
        assert line.recv(20).startswith(b"HTTP/1.1 200")
    [logged] = [each for each in api.logged() if each["trace_id"] == name]
    assert logged["address"] == believed


def test_a_slow_sender_keeps_no_thread_of_the_api(front: Served, api: Served):
    """A crowd of them, more than the api has threads: other requests are answered at once."""
    crowd = [front.connect() for _ in range(40)]
    try:
        for line in crowd:
            line.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert front.ask("GET", "/health/live", within_s=2).status == 200
        assert api.ask("GET", "/health/live", within_s=2).status == 200
    finally:
        for line in crowd:
            line.close()


def test_a_probe_is_not_counted_and_a_flood_is(front: Served, api: Served, tmp_path: Path):
    """At a rate that no machine is too slow to exceed."""

    def asked(path: str) -> list[bytes]:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode()
        raw = response_to(strict, (request + b"\r\n") * 49 + request + b"Connection: close\r\n\r\n")
        return [part.split()[0] for part in raw.split(b"HTTP/1.1 ")[1:]]

    with in_front_of(api, tmp_path, {"rate=300r/s": "rate=1r/m", "burst=300": "burst=5"}) as strict:
        eventually(lambda: strict.ask("GET", "/health/live").status == 200, 20, "nginx passes on")
        assert asked("/health/live") == [b"200"] * 50
        assert asked("/page/nothing").count(b"429") >= 40


def test_an_unavailable_api_is_a_problem_document_with_503(front: Served, tmp_path: Path):
    with in_front_of(replace(front, port=1), tmp_path) as alone:
        answer = eventually(lambda: alone.ask("GET", "/health"), 20, "nginx answers")
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
