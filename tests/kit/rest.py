"""A small HTTP server in the place of the exchange's REST API."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    query: str  # exactly as sent
    headers: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query))


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    byte_every_s: float | None = None  # of the body; None: at once
    header_every_s: float | None = None


def result(value: object) -> Answer:
    return Answer(json.dumps({"retCode": 0, "retMsg": "OK", "result": value}).encode())


def refused(code: int, message: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps({"retCode": code, "retMsg": message, "result": {}}).encode(), headers=named)


class RestServer:
    """Answers with what `answer` makes of a request; remembers requests and counts connections."""

    def __init__(self) -> None:
        self.answer: Callable[[Received], Answer] = lambda _: result({})
        self.received: list[Received] = []
        self.connections = 0
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                received = Received(path, query, dict(self.headers))
                server.received.append(received)
                answer = server.answer(received)
                self.send_response(answer.status)
                for name, value in (_length_of(answer) | dict(answer.headers)).items():
                    self.send_header(name, value)
                with suppress(OSError):
                    self._drip_headers(answer)
                    self.end_headers()
                with suppress(OSError):
                    self._write(answer)

            def _drip_headers(self, answer: Answer) -> None:
                for number in range(50 if answer.header_every_s is not None else 0):
                    self.flush_headers()
                    self.send_header(f"X-{number}", "")
                    server._closed.wait(answer.header_every_s)

            def _write(self, answer: Answer) -> None:
                if answer.byte_every_s is None:
                    self.wfile.write(answer.body)
                    return
                for number in range(len(answer.body)):
                    self.wfile.write(answer.body[number : number + 1])
                    self.wfile.flush()
                    server._closed.wait(answer.byte_every_s)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _length_of(answer: Answer) -> dict[str, str]:
    return {} if "Transfer-Encoding" in answer.headers else {"Content-Length": str(len(answer.body))}


@contextmanager
def serving() -> Iterator[RestServer]:
    server = RestServer()
    try:
        yield server
    finally:
        server.close()
