"""Answers are written by their schemas: from attributes, in the order of the fields."""

import uuid
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from flask import Flask, jsonify
from pydantic import BaseModel, ValidationError

from api.http import json_answer
from api.http.json_answer import written
from api.routes.health import Liveness
from api.schemas.balances import Balance, HistoryQuery, Margin, Sync
from api.schemas.diagnosis import Hop
from api.schemas.health import Health, Live
from api.schemas.keys import MadeKey
from api.schemas.observed import SeenGap, SeenQueue, SeenSocket, SeenTopic
from api.schemas.subscriptions import Replaced, Subscription, Subscriptions
from api.services.balances import SyncStatus, cursor_after
from api.services.diagnosis import HopState
from api.services.health import BrokerComponent, Component, ConnectionsComponent, HealthReport
from api.services.keys import IssuedKey
from common.tables.api_keys import ApiKey
from common.views.balances import BalanceView, MarginView, Place
from common.views.connections import ConnectionView
from common.views.gaps import GapView
from common.views.pages import ResultPage
from common.views.queues import QueueView
from common.views.subscription_status import SubscriptionView
from common.views.topics import TopicView
from tests.unit.api import views

ID = uuid.UUID("0f8c2b6e-5d7a-4c1e-9b3a-7f60d2e41c58")
READ_BY: Mapping[type[BaseModel], type] = {
    Subscription: SubscriptionView,
    SeenTopic: TopicView,
    SeenSocket: ConnectionView,
    SeenQueue: QueueView,
    SeenGap: GapView,
    Hop: HopState,
    Balance: BalanceView,
    Margin: MarginView,
    Sync: SyncStatus,
    MadeKey: IssuedKey,
    Health: HealthReport,
}


def answer(model: type[BaseModel], value: Any) -> str:
    return written(model, value).decode()


@pytest.mark.parametrize("model", READ_BY)
def test_each_field_of_an_answer_is_an_attribute_of_its_value(model: type[BaseModel]):
    assert [name for name in model.model_fields if not hasattr(READ_BY[model], name)] == []


def test_a_subscription_is_written_in_the_order_of_its_schema():
    view = views.subscription(expires_at=None, created_at=views.NOW, updated_at=views.NOW, last_event_at=views.ago(0.5))
    assert answer(Subscription, view) == (
        '{"id":"0f8c2b6e-5d7a-4c1e-9b3a-7f60d2e41c58","channel_type":"trades","category":"linear","symbol":"BTCUSDT",'
        '"topic":"publicTrade.BTCUSDT","requesting_service":"model","is_active":true,"status":"live","reason":null,'
        '"routing_key":"trades.linear.BTCUSDT","queue":"ws-gateway.trades.model","expires_at":null,'
        '"created_at":"2026-08-09T21:26:58Z","updated_at":"2026-08-09T21:26:58Z",'
        '"last_event_at":"2026-08-09T21:26:57.500000Z"}'
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"status": "rejected", "topic_reason": "Invalid symböl", "waits_for": "x"}, "Invalid symböl"),
        ({"status": "pending", "topic_reason": "Invalid symböl", "waits_for": "the exchange"}, "the exchange"),
        ({"status": "live", "topic_reason": "Invalid symböl"}, None),
    ],
)
def test_the_reason_depends_on_the_status(changed: dict[str, str], reason: str | None):
    view = views.subscription(**changed)
    assert view.reason == reason
    assert f'"reason":{"null" if reason is None else chr(34) + reason + chr(34)}' in answer(Subscription, view)


def test_a_page_has_its_total_and_its_limits():
    page = ResultPage([views.subscription()], total=7, limit=1, offset=3)
    assert answer(Subscriptions, page).endswith('"total":7,"limit":1,"offset":3}')


def test_lists_of_flat_values_are_written_as_pydantic_would():
    items = [views.subscription(), views.subscription(status="rejected", topic_reason='"quoted"\u2028')]
    page = ResultPage(items, total=2, limit=100, offset=0)
    validated = Subscriptions.model_validate(page)
    assert written(Subscriptions, page) == validated.model_dump_json().encode()


@pytest.mark.parametrize("model", [Subscription, Subscriptions, Replaced, SeenTopic, Balance, MadeKey])
def test_long_lists_are_written_without_a_model_for_each_item(model: type[BaseModel]):
    assert json_answer._flat(model) is not None


@pytest.mark.parametrize("model", [Health, Hop, Sync])
def test_what_is_nested_or_converted_is_validated(model: type[BaseModel]):
    assert json_answer._flat(model) is None


def test_a_state_that_the_schema_does_not_know_is_an_error():
    with pytest.raises(ValidationError):
        answer(Hop, HopState("ack", "unheard-of", "x"))


def test_an_answer_with_a_single_field_is_written():
    assert answer(Live, Liveness()) == '{"status":"live"}'


def test_only_components_that_have_details_show_them():
    parts = {name: Component("unknown") for name in ("ingestor", "sockets", "broker", "database", "persister")}
    report = HealthReport("healthy", True, None, None, parts, version="1")
    assert "endpoints" not in answer(Health, report)
    detailed = parts | {
        "sockets": ConnectionsComponent("up", None, None, {"linear": Component("up")}),
        "broker": BrokerComponent("up", None, None, {"a queue": "delete it"}),
    }
    found = answer(Health, replace(report, components=detailed))
    assert '"endpoints":{"linear":{"state":"up","since":null,"reason":null}}' in found
    assert '"other_arguments":{"a queue":"delete it"}' in found


def test_ages_are_rounded_to_milliseconds():
    hop = HopState("ack", "ok", "acknowledged", views.NOW, age_s=1.23456)
    assert answer(Hop, hop) == (
        '{"hop":"ack","state":"ok","evidence":"acknowledged","since":"2026-08-09T21:26:58Z","age_s":1.235,"advice":null}'
    )


def test_a_cursor_leads_to_the_row_that_the_page_ended_with():
    cursor = cursor_after(views.balance(id=7))
    assert HistoryQuery.model_validate({"cursor": cursor}).cursor == Place(views.NOW, 7)


def test_the_changes_of_a_comparison_keep_the_order_of_their_table():
    change = {"coin": "A", "kind": "new", "ledger": None, "exchange": {"locked": None, "wallet_balance": "7"}}
    sync = SyncStatus(ID, "drift", 1, [change | {"account_type": "UNIFIED"}], views.NOW, None)
    assert (
        '"changes":[{"coin":"A","kind":"new","ledger":null,"exchange":{"locked":null,"wallet_balance":"7"},'
        '"account_type":"UNIFIED"}]'
    ) in answer(Sync, sync)


def test_a_new_key_is_shown_with_its_secret_and_a_stored_one_without():
    stored = ApiKey(ID, "model", views.NOW, None, None, None, live=True)
    issued = IssuedKey(ID, "model", views.NOW, None, None, None, True, key="wsgw_x")
    assert answer(MadeKey, issued).endswith('"live":true,"key":"wsgw_x"}')
    with pytest.raises(AttributeError):
        answer(MadeKey, stored)


def test_flask_passes_on_what_is_written_and_writes_everything_else_as_before():
    app = Flask("test")
    json_answer.register(app)
    with app.app_context():
        assert jsonify(b'{"b":1}').get_data() == b'{"b":1}'
        assert jsonify({"b": 1, "a": 2}).get_data() == b'{"a":2,"b":1}\n'


@pytest.mark.parametrize(
    ("view", "schema", "not_shown"),
    [
        (TopicView, SeenTopic, {"age_s"}),
        (ConnectionView, SeenSocket, {"age_s"}),
        (QueueView, SeenQueue, {"age_s", "read_since", "unread_since"}),
        (GapView, SeenGap, set()),
    ],
)
def test_every_field_of_a_report_is_shown_or_left_out_on_purpose(
    view: Any, schema: type[BaseModel], not_shown: set[str]
):
    assert {field.name for field in fields(view)} - not_shown == schema.model_fields.keys() - {"stale"}
