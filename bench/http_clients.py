"""Concurrent HTTP clients with one connection each, which send the next request after each response.

`python -m bench.http_clients` reads one command as JSON from stdin and writes the result as JSON to stdout.
"""

import json
import os
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle


@dataclass(slots=True)
class HttpClient:
    connection: socket.socket
    requested_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.requested_at = time.perf_counter()
        self.connection.sendall(request)

    def response_status(self) -> int | None:
        """The status, once the response is complete; None before."""
        part = self.connection.recv(1 << 18)
        self.connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1
        )  # otherwise a server that writes twice waits 40 ms
        if not part:
            raise ConnectionError("the server hung up")
        self.received += part
        head_ends = self.received.find(b"\r\n\r\n")
        if head_ends < 0:
            return None
        head = bytes(self.received[:head_ends]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]) if len(self.received) >= head_ends + 4 + length else None


def run(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> dict[str, object]:
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            client = HttpClient(socket.create_connection(("127.0.0.1", port)))
            client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client.connection, selectors.EVENT_READ, client)
            client.send(next(requests))
        began_at = time.perf_counter()
        took, statuses = [], Counter[int]()
        while time.perf_counter() - began_at < seconds:
            for key, _ in selector.select(1.0):
                client = key.data
                if (status := client.response_status()) is not None:
                    took.append(time.perf_counter() - client.requested_at)
                    statuses[status] += 1
                    client.send(next(requests))
        passed_s = time.perf_counter() - began_at
    took.sort()
    shares = {f"p{share:g}_ms": round(took[int(len(took) * share / 100)] * 1000, 2) for share in (50, 95, 99)}
    return {"per_s": round(len(took) / passed_s), "answers": len(took), "statuses": dict(statuses), **shares}


def getting(path: str, headers: str) -> Iterator[bytes]:
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()
    while True:
        yield request


def posting(path: str, headers: str, first: int, service: str, distinct: int) -> Iterator[bytes]:
    """A new subscription each time, or the same `distinct` ones repeatedly; 0 for new ones."""
    for number in cycle(range(first, first + distinct)) if distinct else count(first):
        body = f'{{"channel_type":"trades","symbol":"N{number}","requesting_service":"{service}-{number % 40}"}}'
        yield (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


def main() -> None:
    command = json.load(sys.stdin)
    os.nice(10)  # like the api itself, because real clients run on other machines
    method = command["method"]
    path = command["path"]
    headers = command["headers"]
    requests = (
        getting(path, headers)
        if method == "GET"
        else posting(path, headers, command["first"], command["service"], command["distinct"])
    )
    json.dump(run(command["port"], requests, command["connections"], command["seconds"]), sys.stdout)


if __name__ == "__main__":
    main()
