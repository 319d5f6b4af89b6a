"""The api does what its description says, and nothing that anybody may send breaks it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import GenerationConfig, SchemathesisConfig
from sqlalchemy import Engine

from api.app import create
from api.settings import Settings
from common import database as databases
from tests.contract.api.conftest import ADMINISTRATOR_KEY, PATH, TRADES, UNLIMITED, Ingestor, Notifications, asking
from tests.kit.servers import Database, Postgres, fresh_database

KEY = {"X-API-Key": ADMINISTRATOR_KEY}
_FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_FEWER = settings(_FEW, max_examples=6, stateful_step_count=5)
# A subscription may fit the schema and still make no sense to Bybit; what has ended can still be looked at.
_UNPROMISED = ("positive_data_acceptance", "use_after_free")


@pytest.fixture(scope="module")
def app(postgres: Postgres, migrated: Database) -> Iterator[Flask]:
    with fresh_database(postgres, migrated) as database:
        given_key = {"RABBITMQ_PASSWORD": "unused", "WS_GATEWAY_API_KEY": ADMINISTRATOR_KEY}
        found = replace(Settings.from_env(database.environ() | given_key), rates=UNLIMITED)
        engine = databases.engine(found.postgres, "api tests")
        _answer_syncs_at_once(engine)
        Ingestor(engine).leads(age_s=-3600)  # heard of for as long as these tests take
        yield create(found, engine, Notifications())
        engine.dispose()


def _answer_syncs_at_once(engine: Engine) -> None:
    """No ingestor fetches snapshots here, and each request would wait for ten seconds."""
    Ingestor(engine).execute("ALTER TABLE balance_syncs ALTER done_at SET DEFAULT now()")


@pytest.fixture(scope="module")
def described(app: Flask) -> Any:
    config = SchemathesisConfig()
    config.projects.default.generation = GenerationConfig(max_examples=12)
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)


def checks(*but: str) -> list[Callable[..., Any]]:
    load_all_checks()
    return [check for check in CHECKS.get_all() if check.__name__ not in (*_UNPROMISED, *but)]


@pytest.mark.parametrize("mode", GenerationMode)
def test_each_call_does_what_is_written(described: Any, mode: GenerationMode):
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        _hold(operation, mode)


def _hold(operation: Any, mode: GenerationMode) -> None:
    unpromised = ["not_a_server_error"] if operation.path in ("/health", "/ready") else []  # red is an answer

    @_FEW
    @given(operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        case.call_and_validate(headers=KEY, checks=checks(*unpromised))

    try:
        holds()
    except Unsatisfiable:
        assert mode.is_negative, operation.label  # a call without parameters cannot be called wrongly


def test_calls_that_follow_each_other_do_what_is_written(described: Any):
    class Talk(described.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, _case: Any) -> dict[str, Any]:
            return {"headers": KEY}

        def validate_response(self, response: Any, case: Any, **_more: Any) -> None:
            if case.path not in ("/health", "/ready"):
                case.validate_response(response, checks=checks("ignored_auth"), headers=KEY)

    Talk.run(settings=_FEWER)


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return asking(app.test_client(), ADMINISTRATOR_KEY)


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
ANY = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.lists(ANY_TEXT, max_size=2)


@pytest.mark.parametrize(
    "field",
    [
        "channel_type",
        "category",
        "symbol",
        "depth",
        "interval",
        "topic",
        "requesting_service",
        "ttl_seconds",
        "any other",
    ],
)
@_FEW
@given(st.data())
def test_no_value_of_a_field_breaks_it(client: FlaskClient, field: str, data: Any):
    value = data.draw(ANY)
    for subscription in (TRADES, {"requesting_service": "model"}):
        assert client.post(PATH, json=subscription | {field: value}).status_code in (200, 201, 400, 422)
    whole = {"subscriptions": [{field: value}], "ttl_seconds": value}
    assert client.put("/api/v1/services/fuzzed/subscriptions", json=whole).status_code in (200, 400, 422)


@pytest.mark.parametrize("rule", ["/health", "/ready", PATH, "/api/v1/topics", "/api/v1/gaps", "/api/v1/keys"])
@_FEW
@given(ANY_TEXT, ANY_TEXT, st.sampled_from(["limit", "offset", "service", "requesting_service", "symbol", "status"]))
def test_no_query_breaks_it(client: FlaskClient, rule: str, name: str, value: str, known: str):
    for query in ({name: value}, {known: value}):
        assert client.get(rule, query_string=query).status_code in (200, 422, 503)


@pytest.mark.parametrize("name", ["X-API-Key", "X-Request-ID", "traceparent", "Prefer", "X-Forwarded-For", "Accept"])
@_FEW
@given(st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=300))
def test_no_header_breaks_it(client: FlaskClient, name: str, value: str):
    if name == "Prefer" and "wait" in value.lower():
        return
    assert client.post(PATH, json=TRADES, headers={name: value}).status_code in (200, 201, 401)


@_FEW
@given(ANY_TEXT)
def test_no_path_breaks_it(client: FlaskClient, text: str):
    for rule in (
        f"{PATH}/{text}",
        f"{PATH}/by-service/{text}",
        f"/api/v1/services/{text}/subscriptions",
        f"/docs/{text}",
    ):
        assert client.delete(rule).status_code in (200, 404, 405, 422, 308)
