"""A REST client and the server that it talks to."""

from collections.abc import Iterator

import pytest

from common import settings
from common.settings import Credentials
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient
from tests.kit.rest import RestServer, serving

NOW_MS = 1_700_000_000_000
CREDENTIALS = Credentials("example-key", "example-secret")


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: RestServer) -> RestClient:
    bybit = settings.Bybit("simulator", CREDENTIALS, "", server.url)
    return RestClient(bybit, Account(CREDENTIALS), lambda: NOW_MS)
