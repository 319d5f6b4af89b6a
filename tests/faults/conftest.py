"""Fixtures: a running gateway, shared by a file, and an exchange with faults."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.e2e.stack import Stack, at_work, call
from tests.kit.servers import Database, Postgres, RabbitMQ
from tests.kit.waiting import eventually


class Exchange:
    """The simulator's control interface."""

    def __init__(self, port: int) -> None:
        self._port = port

    def control(self, path: str, **body: object) -> None:
        status, answer = call(self._port, "POST", f"/control/{path}", body)
        assert status < 300, answer

    def fault(self, kind: str, **details: object) -> None:
        self.control("faults", kind=kind, **details)

    def well(self) -> None:
        call(self._port, "DELETE", "/control/faults")

    def connections(self, endpoint: str) -> list[dict[str, object]]:
        found = call(self._port, "GET", "/control/connections")[1]
        return [each for each in found["connections"] if each["endpoint"] == endpoint]


@pytest.fixture(scope="module")
def gateway(
    postgres: Postgres, migrated: Database, rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A running gateway without subscriptions."""
    with at_work(postgres, migrated, rabbitmq, tmp_path_factory.mktemp("gateway")) as mine:
        yield mine


@pytest.fixture
def exchange(gateway: Stack) -> Iterator[Exchange]:
    """The exchange, without faults again after the test."""
    mine = Exchange(gateway.simulator_port)
    try:
        yield mine
    finally:
        mine.well()
        with suppress(AssertionError):
            eventually(lambda: gateway.call("GET", "/health")[0] == 200, 30, "the gateway is healthy again")
