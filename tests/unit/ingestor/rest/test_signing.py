"""How REST requests are signed."""

import pytest

from common.settings import Credentials
from ingestor.rest.signing import query_text, signed_headers
from simulator import signing as theirs

NOW_MS = 1_700_000_000_000
CREDENTIALS = Credentials("example-key", "example-secret")


def test_a_known_signature():
    headers = signed_headers(CREDENTIALS, "accountType=UNIFIED&coin=USDT%2CUSDC", NOW_MS)
    assert headers == {
        "X-BAPI-API-KEY": "example-key",
        "X-BAPI-TIMESTAMP": "1700000000000",
        "X-BAPI-RECV-WINDOW": "10000",
        "X-BAPI-SIGN-TYPE": "2",
        "X-BAPI-SIGN": "475ba4d3b1af36e0d8e549570a8f14f785c2d0c86dec8db696a63390a0565b6f",
    }


def test_the_simulator_accepts_it():
    headers = signed_headers(CREDENTIALS, "limit=5", NOW_MS)
    assert (
        theirs.request_refusal(headers, "limit=5", theirs.Credentials("example-key", "example-secret"), NOW_MS) is None
    )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, ""),
        ({"category": "linear", "openOnly": 0, "limit": 50}, "category=linear&openOnly=0&limit=50"),
        ({"category": "linear", "baseCoin": None}, "category=linear"),
        ({"cursor": "page%3D12%26"}, "cursor=page%3D12%26"),
        ({"cursor": "a=1&b c"}, "cursor=a%3D1%26b%20c"),
    ],
)
def test_the_query_text(query: dict[str, object], text: str):
    assert query_text(query) == text
