"""Views that are made by position have their columns in the order of their fields."""

from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import Select

from common.views import balances, subscription_status
from common.views.balances import BalanceView, MarginView
from common.views.ingestors import LaneView
from common.views.subscription_status import SubscriptionView
from tests.unit.api import views

NOT_READ = {"waits_for"}


@pytest.mark.parametrize(
    ("view", "statement"),
    [
        (SubscriptionView, subscription_status._select),
        (BalanceView, balances._rows),
        (BalanceView, balances._latest_rows),
        (MarginView, balances._margin_rows),
        (MarginView, balances._latest_margin_rows),
    ],
)
def test_the_columns_are_the_fields(view: Any, statement: Select[Any]):
    names = [field.name for field in fields(view) if field.name not in NOT_READ]
    assert [column.name for column in statement.selected_columns] == names


def test_a_lane_without_a_report_waits_for_nothing():
    assert LaneView.from_json({}) == LaneView(0, None, None, 0.0)


def test_the_times_of_a_lane_are_read():
    found = LaneView.from_json({"waiting": 7, "waits_since": views.NOW.isoformat(), "waits_s": 2.5})
    assert found == LaneView(7, None, views.NOW, 2.5)


@pytest.mark.parametrize(("age_s", "fresh"), [(4.4, True), (4.5, False)])
def test_a_heartbeat_is_fresh_for_four_and_a_half_seconds(age_s: float, fresh: bool):
    assert views.leader(age_s=age_s).fresh is fresh
    assert views.connection(age_s=age_s).stale is not fresh


@pytest.mark.parametrize(("age_s", "stale"), [(14.9, False), (15.0, True)])
def test_a_queue_is_stale_after_fifteen_seconds(age_s: float, stale: bool):
    assert views.queue(age_s=age_s).stale is stale
