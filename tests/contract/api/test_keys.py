"""Authentication, and what a key may access."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from api.app import create
from api.settings import Rates, Settings
from tests.contract.api.conftest import (
    ADMINISTRATOR_KEY,
    PATH,
    TRADES,
    Ingestor,
    Notifications,
    asking,
    body,
    code,
)

KEYS = "/api/v1/keys"
OPEN = "open"
EVERY_METHOD = {"GET", "HEAD", "OPTIONS", "TRACE", "PATCH", "PUT", "POST", "DELETE"}


@dataclass(frozen=True)
class World:
    """One subscription of `model` and one of `other`, and a client for each kind of key."""

    mine: str
    others: str
    key: str
    clients: dict[str, FlaskClient]


@pytest.fixture
def world(impatient_client: FlaskClient, ingestor: Ingestor) -> World:
    client = impatient_client

    def made(service: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = body(client.post(KEYS, json={"service": service} | more))
        return found

    own, revoked, expired = made("model"), made("a"), made("b", ttl_seconds=60)
    client.delete(f"{KEYS}/{revoked['id']}")
    ingestor.execute("UPDATE api_keys SET expires_at = now() WHERE service = 'b'")
    given = {
        "administrator": ADMINISTRATOR_KEY,
        "own": own["key"],
        "none": "",
        "wrong": "wrong",
        "revoked": revoked["key"],
        "expired": expired["key"],
    }
    clients = {kind: asking(client.application.test_client(), key) for kind, key in given.items()}
    mine = body(client.post(PATH, json=TRADES))["id"]
    others = body(client.post(PATH, json=TRADES | {"requesting_service": "other"}))["id"]
    return World(mine, others, own["id"], clients)


def matrix(world: World) -> dict[tuple[str, str], list[tuple[str, Any, int, int]]]:
    """(method, rule) -> requests: path, body, the status for the administrator, the status for the key of `model`."""
    subscription, others_subscription = (
        TRADES | {"symbol": "A"},
        TRADES | {"requesting_service": "other", "symbol": "B"},
    )
    one, empty = "/api/v1/subscriptions/<uuid:subscription_id>", dict[str, Any](subscriptions=[])
    services = "/api/v1/services"
    return {
        ("POST", PATH): [(PATH, subscription, 201, 200), (PATH, others_subscription, 201, 403)],
        ("GET", PATH): [(PATH, None, 200, 200), (f"{PATH}?requesting_service=other", None, 200, 403)],
        ("GET", one): [(f"{PATH}/{world.mine}", None, 200, 200), (f"{PATH}/{world.others}", None, 200, 404)],
        ("GET", f"{one}/diagnosis"): [
            (f"{PATH}/{world.mine}/diagnosis", None, 200, 200),
            (f"{PATH}/{world.others}/diagnosis", None, 200, 404),
        ],
        ("DELETE", one): [(f"{PATH}/{world.mine}", None, 200, 200), (f"{PATH}/{world.others}", None, 200, 404)],
        ("DELETE", f"{PATH}/by-service/<service>"): [
            (f"{PATH}/by-service/model", None, 200, 200),
            (f"{PATH}/by-service/other", None, 200, 403),
        ],
        ("PUT", f"{services}/<service>/subscriptions"): [
            (f"{services}/model/subscriptions", empty, 200, 200),
            (f"{services}/other/subscriptions", empty, 200, 403),
        ],
        ("GET", "/api/v1/topics"): [("/api/v1/topics", None, 200, 200)],
        ("GET", "/api/v1/connections"): [("/api/v1/connections", None, 200, 200)],
        ("GET", "/api/v1/queues"): [("/api/v1/queues", None, 200, 200)],
        ("GET", "/api/v1/gaps"): [("/api/v1/gaps", None, 200, 200)],
        ("GET", "/api/v1/balances"): [("/api/v1/balances", None, 200, 200)],
        ("GET", "/api/v1/balances/history"): [("/api/v1/balances/history", None, 200, 200)],
        ("POST", "/api/v1/balances/sync"): [("/api/v1/balances/sync", None, 202, 202)],
        ("GET", "/api/v1/balances/sync/<uuid:sync_id>"): [(f"/api/v1/balances/sync/{world.mine}", None, 404, 404)],
        ("POST", KEYS): [(KEYS, {"service": "model"}, 201, 403)],
        ("GET", KEYS): [(KEYS, None, 200, 403)],
        ("DELETE", f"{KEYS}/<uuid:key_id>"): [(f"{KEYS}/{world.key}", None, 200, 403)],
    }


OPEN_RULES = {"/health", "/health/live", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/start.js"}
OPEN_RULES |= {"/docs/<path:name>", "/", "/page/<name>"}


def test_every_route_is_open_by_name_or_is_in_the_matrix(client: FlaskClient, world: World):
    rules = {
        (method, rule.rule)
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in OPEN_RULES
    }
    assert rules == set(matrix(world))


@pytest.mark.parametrize("kind", ["none", "wrong", "revoked", "expired"])
def test_without_a_live_key_nothing_is_disclosed_or_done(world: World, kind: str):
    for (method, _), requests in matrix(world).items():
        for path, sent, _, _ in requests:
            answer = world.clients[kind].open(path, method=method, json=sent)
            expected = "missing_key" if kind == "none" else "unknown_key"
            assert code(answer) == (401, expected), path
            assert answer.headers["WWW-Authenticate"]
    assert body(world.clients["administrator"].get(f"{PATH}?is_active=true"))["total"] == 2


@pytest.mark.parametrize("kind", ["administrator", "own", "none"])
def test_other_methods_open_no_back_door(world: World, kind: str):
    """HEAD is GET without a body; what is not in the matrix is rejected before the key is checked."""
    known = matrix(world)
    for method, rule in known:
        path, _, whole, own = known[method, rule][-1]
        for other in EVERY_METHOD - {each for each, of in known if of == rule}:
            is_get = other == "HEAD" and method == "GET"
            expected = {"administrator": whole, "own": own, "none": 401}[kind] if is_get else 405
            if other != "HEAD" or is_get or ("GET", rule) not in known:
                assert world.clients[kind].open(path, method=other).status_code == expected, (other, path)
    assert body(world.clients["administrator"].get(f"{PATH}?is_active=true"))["total"] == 2


def _in_order(world: World) -> list[tuple[str, str, Any, int, int]]:
    """What ends things comes last, and the key is revoked at the very end."""
    late = {"PUT": 1, "DELETE": 2}
    requests = [(method, rule, *each) for (method, rule), all_ in matrix(world).items() for each in all_]
    requests.sort(key=lambda each: (late.get(each[0], 0), each[1].startswith(KEYS)))
    return [(method, path, sent, whole, own) for method, _, path, sent, whole, own in requests]


def test_the_administrator_reaches_everything_and_a_service_its_own(world: World):
    own = world.clients["own"]
    for method, path, sent, _, expected in _in_order(world):
        assert own.open(path, method=method, json=sent).status_code in (expected, 201 if expected == 200 else expected)
    assert body(world.clients["administrator"].get(f"{PATH}/{world.others}"))["is_active"]
    for method, path, sent, expected, _ in _in_order(world):
        answer = world.clients["administrator"].open(path, method=method, json=sent)
        assert answer.status_code in (expected, 200 if expected == 201 else expected), (method, path, answer.text)


def test_a_service_sees_its_own_things_alone(world: World, client: FlaskClient, ingestor: Ingestor):
    ingestor.leads()
    client.post(PATH, json={"topic": "publicTrade.X", "category": "spot", "requesting_service": "other"})
    for endpoint, topic in (("linear", "publicTrade.BTCUSDT"), ("spot", "publicTrade.X")):
        ingestor.connected(endpoint)
        ingestor.holds(topic, endpoint=endpoint)
        ingestor.execute(
            "INSERT INTO gaps (endpoint, topic, opened, cause) VALUES (:endpoint, :topic, now(), 'lost')",
            endpoint=endpoint,
            topic=topic,
        )
    for service in ("model", "other"):
        ingestor.sees_queue(f"ws-gateway.trades.{service}", "trades", service)
    for what, whole in (("subscriptions", 3), ("topics", 2), ("connections", 2), ("queues", 2), ("gaps", 2)):
        assert body(client.get(f"/api/v1/{what}"))["total"] == whole, what
        assert body(world.clients["own"].get(f"/api/v1/{what}"))["total"] == 1, what


def test_a_key_is_shown_once_and_kept_as_a_digest(client: FlaskClient, engine: Engine):
    made = body(client.post(KEYS, json={"service": "model", "ttl_seconds": 60}))
    assert made["key"].startswith("wsgw_")
    assert made["expires_at"] > made["created_at"]
    [listed] = body(client.get(KEYS))["items"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    with engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT api_keys::text FROM api_keys").scalar_one()
    assert made["key"] not in stored


def test_two_keys_live_at_once_and_no_third(client: FlaskClient):
    def make(_: int) -> int:
        fresh = asking(client.application.test_client(), ADMINISTRATOR_KEY)
        return fresh.post(KEYS, json={"service": "model"}).status_code

    with ThreadPoolExecutor(8) as crowd:
        assert sorted(crowd.map(make, range(8))) == [201, 201] + [409] * 6
    assert code(client.post(KEYS, json={"service": "model"})) == (409, "too_many_keys")
    first = body(client.get(f"{KEYS}?service=model"))["items"][0]
    assert body(client.delete(f"{KEYS}/{first['id']}"))["live"] is False
    assert client.post(KEYS, json={"service": "model"}).status_code == 201


def test_revoking_works_at_once(client: FlaskClient, service_client: Callable[[str], FlaskClient]):
    own = service_client("model")
    assert own.get(PATH).status_code == 200
    [key] = body(client.get(KEYS))["items"]
    client.delete(f"{KEYS}/{key['id']}")
    assert code(own.get(PATH)) == (401, "unknown_key")
    assert code(client.delete(f"{KEYS}/{'0' * 8}-0000-0000-0000-{'0' * 12}")) == (404, "no_such_key")


def test_the_last_use_is_noted(client: FlaskClient, service_client: Callable[[str], FlaskClient]):
    service_client("model").get(PATH)
    [key] = body(client.get(KEYS))["items"]
    assert key["last_used_at"] is not None


@pytest.mark.parametrize("sent", [{}, {"service": "No!"}, {"service": "persister"}, {"service": "a", "ttl_seconds": 0}])
def test_a_key_without_a_valid_service_is_rejected(client: FlaskClient, sent: dict[str, Any]):
    assert client.post(KEYS, json=sent).status_code == 422


@pytest.fixture
def limited(settings: Settings, engine: Engine) -> Callable[[int, int], FlaskClient]:
    def made(of_a_key: int, of_an_address: int) -> FlaskClient:
        strict = replace(settings, rates=Rates(of_a_key, of_an_address))
        return asking(create(strict, engine, Notifications(), Still()).test_client(), ADMINISTRATOR_KEY)

    return made


class Still:
    """Counts as if the clock stood still."""

    def __init__(self) -> None:
        self._counted: list[str] = []

    def allow(self, name: str, max_per_s: int, now: float) -> bool:
        self._counted.append(name)
        return self._counted.count(name) <= max_per_s


def test_a_key_beyond_its_rate_is_answered_with_when_to_retry(limited: Callable[[int, int], FlaskClient]):
    client = limited(3, 100)
    assert [client.get(PATH).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = client.get(PATH)
    assert code(answer) == (429, "too_many_requests_of_key")
    assert answer.headers["Retry-After"] == "1"


def test_an_address_is_limited_before_its_key_is_checked(limited: Callable[[int, int], FlaskClient]):
    client = asking(limited(100, 2), "wrong")
    assert [client.get(PATH).status_code for _ in range(3)] == [401, 401, 429]
    assert code(client.get("/no/such/path")) == (429, "too_many_requests_of_address")


def test_a_probe_is_never_limited(limited: Callable[[int, int], FlaskClient]):
    client = limited(1, 1)
    assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5
