"""Values that Bybit introduced after the recorded frames: each is one replacement in a real message."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.settings import Credentials
from ingestor.bybit import identity
from ingestor.bybit.actions import Deliver
from ingestor.bybit.session import Session
from tests.unit.ingestor.bybit.conversation import answer, session

DATA = Path(__file__).resolve().parents[3] / "data" / "bybit"
EXEC_TYPES = ("ForwardSplitSettle", "ReverseSplitSettle", "Dividend")
ORDER = "private.order.2026.jsonl"
EXECUTION = "docs/ws.private.execution.02.execution.json"
REST_ORDER = "docs/rest.order.open-order.01.body.json"
REST_EXECUTION = "docs/rest.order.execution.01.body.json"


def real(name: str, old: str = "", new: str = "") -> bytes:
    """A message of the exchange in which `old`, which it must contain once, is `new`."""
    text = (DATA / name).read_text().strip()
    assert not old or text.count(old) == 1, name
    return text.replace(old, new).encode()


def rows(document: bytes) -> list[Any]:
    found: list[Any] = json.loads(document)["result"]["list"]
    return found


def live_private(topic: str) -> Session:
    talk = session(topic, endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    answer(talk, talk.received(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', now=0.0))
    return talk


@pytest.mark.parametrize("exec_type", EXEC_TYPES)
def test_an_execution_of_each_new_type_is_delivered_unchanged(exec_type: str):
    frame = real(EXECUTION, '"execType": "Trade"', f'"execType": "{exec_type}"')
    actions = live_private("execution").received(frame, now=1.0)
    assert [(each.topic, each.frame) for each in actions if isinstance(each, Deliver)] == [("execution", frame)]
    assert identity.push_key("execution", frame) == identity.push_key("execution", real(EXECUTION))


@pytest.mark.parametrize("exec_type", EXEC_TYPES)
def test_an_execution_of_each_new_type_is_backfilled_unchanged(exec_type: str):
    listed = rows(real(REST_EXECUTION, '"execType": "Trade"', f'"execType": "{exec_type}"'))
    [element] = identity.elements("execution", listed)
    assert json.loads(element.data) == listed[0]
    assert element.key == listed[0]["execId"]


def test_an_order_whose_smp_group_is_a_text_is_delivered_unchanged():
    frame = real(ORDER, '"smpGroup":0', '"smpGroup":"0"')
    actions = live_private("order").received(frame, now=1.0)
    assert [(each.topic, each.frame) for each in actions if isinstance(each, Deliver)] == [("order", frame)]
    assert identity.push_key("order", frame) == identity.push_key("order", real(ORDER))


def test_an_order_whose_smp_group_is_a_text_is_the_same_element_in_rest():
    old, new = (rows(real(REST_ORDER, '"smpGroup": 0', f'"smpGroup": {group}')) for group in ("0", '"0"'))
    [before], [after] = identity.elements("order", old), identity.elements("order", new)
    assert (after.key, json.loads(after.data)["smpGroup"]) == (before.key, "0")
