"""A server that sends the head of its answer byte by byte, plain and over TLS."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from ingestor.rest.deadline import DeadlineAdapter
from tests.contract.exchange.raw import request, serving

WITHIN_S = 0.3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    yield session
    session.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key", "-out", "crt"]
    subprocess.run(["openssl", "req", "-x509", "-days", "1", *key, *names], cwd=folder, capture_output=True, check=True)
    return folder


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "crt", certificate / "key")
    return context


def drip(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(HEAD)
    pause = threading.Event()
    while True:
        connection.sendall(b"X")
        pause.wait(0.02)


def answer(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(HEAD + b"\r\n{}")


def test_a_head_that_drips_ends_at_the_deadline(session: requests.Session):
    with serving(drip) as server:
        began = time.monotonic()
        with pytest.raises(requests.RequestException):
            session.get(f"http://localhost:{server.port}/", timeout=WITHIN_S)
        assert time.monotonic() - began < 3 * WITHIN_S


def test_so_does_one_over_tls(session: requests.Session, certificate: Path, tls: ssl.SSLContext):
    with serving(drip, tls) as server:
        began = time.monotonic()
        with pytest.raises(requests.RequestException):
            session.get(f"https://localhost:{server.port}/", timeout=WITHIN_S, verify=str(certificate / "crt"))
        assert time.monotonic() - began < 3 * WITHIN_S


def test_a_connection_outlives_the_deadline_of_an_answer_that_arrived(
    session: requests.Session, certificate: Path, tls: ssl.SSLContext
):
    with serving(answer, tls) as server:
        for _ in range(2):
            found = session.get(f"https://localhost:{server.port}/", timeout=WITHIN_S, verify=str(certificate / "crt"))
            assert found.json() == {}
            threading.Event().wait(1.5 * WITHIN_S)
        assert server.connections == 1
