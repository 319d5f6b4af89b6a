"""Signatures are checked the way the exchange makes them."""

import pytest

from simulator.signing import Credentials, Refusal, request_refusal

NOW_MS = 1_700_000_000_000
CREDENTIALS = Credentials("example-key", "example-secret")
QUERY = "accountType=UNIFIED&coin=USDT%2CUSDC"
SIGNATURE = "c17b0c2d7d1d303db8d7e44706ea5a8fb70158c7a3fab63d3ed42838b89da1fa"


def headers(**changed: str) -> dict[str, str]:
    usual = {"API-KEY": "example-key", "TIMESTAMP": str(NOW_MS), "SIGN": SIGNATURE, "RECV-WINDOW": "5000"}
    return {f"X-BAPI-{name}": value for name, value in (usual | changed).items()}


@pytest.mark.parametrize(
    ("secret", "expires", "signature"),
    [
        ("test-secret", 1786106096123, "49a306f2e33774b3492b30b06948a6d1f6116e549323e6cfb3ab40f421755f9b"),
        ("example-secret", 1700000000000, "8b9d2537d1ac386e879063cd050431eb461519bff38cb16ebd0ba97278908089"),
    ],
)
def test_known_signatures_of_sockets(secret: str, expires: int, signature: str):
    assert Credentials("", secret).sign(f"GET/realtime{expires}") == signature


def test_a_known_signature_of_rest():
    assert request_refusal(headers(), QUERY, CREDENTIALS, NOW_MS) is None


@pytest.mark.parametrize(("server_ms", "good"), [(-1000, False), (-999, True), (5000, True), (5001, False)])
def test_the_window_is_long_behind_and_short_ahead(server_ms: int, good: bool):
    refusal = request_refusal(headers(), QUERY, CREDENTIALS, NOW_MS + server_ms)
    assert refusal is None if good else refusal is not None and refusal.code == 10002


def test_what_is_refused():
    assert request_refusal(headers(**{"API-KEY": "x"}), QUERY, CREDENTIALS, NOW_MS) == Refusal(
        10003, "API key is invalid."
    )
    wrong = request_refusal(headers(), QUERY.replace("%2C", ","), CREDENTIALS, NOW_MS)
    assert wrong == Refusal(
        10004, f"error sign! origin_string[{NOW_MS}example-key5000accountType=UNIFIED&coin=USDT,USDC]"
    )
    bad = request_refusal(headers(TIMESTAMP="now"), QUERY, CREDENTIALS, NOW_MS)
    assert bad is not None
    assert bad.code == 10001
