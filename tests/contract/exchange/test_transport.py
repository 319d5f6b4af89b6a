"""One connection against a server that says exactly what it should not."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from queue import SimpleQueue

import pytest

from ingestor.sockets.transport import Lost, Transport, Unfit, open_transport
from tests.contract.exchange.raw import Script, frame, received, request, serving, upgrade
from tests.kit.waiting import eventually

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def connected(port: int, within_s: float = 5.0) -> Transport:
    return open_transport(f"ws://127.0.0.1:{port}/v5/public/linear", within_s)


def answering(head: str) -> Script:
    def script(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(head.encode() + b"\r\n\r\n")

    return script


def arrived(transport: Transport, count: int) -> list[bytes | Unfit]:
    messages: list[bytes | Unfit] = []

    def enough() -> bool:
        messages.extend(transport.receive())
        return len(messages) >= count

    eventually(enough, 5, f"{count} messages")
    return messages


def end_of(transport: Transport) -> str:
    """With which words it is lost."""

    def words() -> str | None:
        try:
            transport.receive()
        except Lost as lost:
            return str(lost)
        return None

    return eventually(words, 5, "it is lost")


def test_a_server_that_accepts_and_says_nothing_is_left():
    def mute(connection: socket.socket) -> None:
        request(connection)
        threading.Event().wait(30)

    with serving(mute) as server, pytest.raises(Lost, match=r"not connected within 0\.3 s"):
        connected(server.port, within_s=0.3)


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: "])
def test_an_answer_that_drips_is_left_when_the_time_is_over(begins: bytes):
    def drip(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(begins)
        never = threading.Event()
        while not never.wait(0.02):  # each byte well within any timeout of a single read
            connection.sendall(b"x")

    with serving(drip) as server, pytest.raises(Lost, match=r"not connected within 0\.5 s"):
        connected(server.port, within_s=0.5)


def test_an_answer_without_end_is_left():
    def flood(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")

    with serving(flood) as server, pytest.raises(Lost, match="no end"):
        connected(server.port, within_s=60.0)


def test_a_redirect_is_refused():
    with serving(upgrade) as elsewhere:
        head = f"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:{elsewhere.port}/"
        with serving(answering(head)) as server, pytest.raises(Lost, match="Redirect"):
            connected(server.port)
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        ("403 Forbidden", "", 0.0),
        ("429 Too Many Requests", "Retry-After: 7", 7.0),
        ("503 Service Unavailable", "Retry-After: soon", 0.0),
        ("503 Service Unavailable", "Retry-After: 999999", 3600.0),
    ],
)
def test_a_refusal_tells_how_long_to_wait(status: str, header: str, wait_s: float):
    with serving(answering(f"HTTP/1.1 {status}\r\n{header}")) as server, pytest.raises(Lost) as refused:
        connected(server.port)
    assert status[:3] in str(refused.value)
    assert refused.value.wait_s == wait_s


def test_a_wait_until_a_date_is_understood():
    date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {date}"
    with serving(answering(head)) as server, pytest.raises(Lost) as refused:
        connected(server.port)
    assert refused.value.wait_s == 3600.0


def test_the_extra_headers_go_with_the_upgrade():
    heads: SimpleQueue[bytes] = SimpleQueue()

    def script(connection: socket.socket) -> None:
        heads.put(request(connection))

    with serving(script) as server, pytest.raises(Lost):
        open_transport(f"ws://127.0.0.1:{server.port}/v5/private", 5.0, headers=[("X-Access", "a=b"), ("X-More", "c")])
    lines = heads.get(timeout=5).split(b"\r\n")
    assert lines.count(b"X-Access: a=b") == lines.count(b"X-More: c") == 1
    assert [line for line in lines if line.startswith(b"Sec-WebSocket-Key: ")]


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch):
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(upgrade) as server:
        connected(server.port).close()


def test_a_ping_is_answered_with_its_own_words():
    pongs: SimpleQueue[tuple[int, bytes]] = SimpleQueue()

    def script(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(frame(b"are you there?", opcode=9) + frame(b"data"))
        pongs.put(received(connection))

    with serving(script) as server:
        transport = connected(server.port)
        assert arrived(transport, 1) == [b"data"]
        assert pongs.get(timeout=5) == (10, b"are you there?")
        transport.close()


def test_what_came_before_a_close_frame_is_received_and_its_words_are_kept():
    def script(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(frame(b"last") + frame((1001).to_bytes(2, "big") + b"maintenance", opcode=8))

    with serving(script) as server:
        transport = connected(server.port)
        assert arrived(transport, 1) == [b"last"]
        assert end_of(transport) == "closed by the exchange: 1001 maintenance"
        transport.close()


def test_a_frame_of_2_to_the_62_bytes_ends_the_connection_and_takes_no_memory():
    def script(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(b"\x81\x7f" + (2**62).to_bytes(8, "big") + b"x" * 1000)

    with serving(script) as server:
        transport = connected(server.port)
        assert "protocol violation" in end_of(transport)
        transport.close()


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of its for the name localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    ca = ["-x509", "-subj", "/CN=throwaway", "-keyout", "ca.key", "-out", "ca.pem"]
    _openssl(folder, "req", *key, *ca)
    _openssl(folder, "req", "-x509", *key, *names, "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "key", "-out", "crt")
    return folder


@pytest.fixture
def secure_port(certificates: Path) -> Iterator[int]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "crt", certificates / "key")

    def script(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(frame(b"one") + frame(b"two"))
        received(connection)

    with serving(script, tls) as server:
        yield server.port


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_certificate_of_a_known_authority_for_this_name_is_accepted(
    secure_port: int, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    transport = open_transport(f"wss://localhost:{secure_port}/", 5.0)
    assert arrived(transport, 2) == [b"one", b"two"]
    transport.close()


def test_a_certificate_for_another_name_is_refused(
    secure_port: int, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with pytest.raises(Lost, match="IP address mismatch"):
        open_transport(f"wss://127.0.0.1:{secure_port}/", 5.0)


def test_a_certificate_of_an_unknown_authority_is_refused(secure_port: int):
    with pytest.raises(Lost, match="certificate verify failed"):
        open_transport(f"wss://localhost:{secure_port}/", 5.0)
